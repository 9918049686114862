"""Addresses by which a caller might have the appliance reach what is not the open internet.

`{port}` stands for the port of a listener on this machine. Names under `.test` are answered by `NAMES`, a
resolver of the attacker's own; each name answers with the next of its lists at each question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final


def _hosts(text: str) -> tuple[str, ...]:
    """Between blanks."""
    return tuple(text.split())


PUBLIC: Final = "93.184.216.34"
METADATA: Final = "169.254.169.254"

NAMES: Final[Mapping[str, Sequence[Sequence[str]]]] = {
    "plain.test": [["127.0.0.1"]],
    "six.test": [["::1"]],
    "mapped.test": [["::ffff:127.0.0.1"]],
    "nat64.test": [["64:ff9b::7f00:1"]],
    "zone.test": [["fe80::1%lo"]],
    "any.test": [["0.0.0.0"]],
    "any6.test": [["::"]],
    "metadata.test": [[METADATA]],
    "oracle.test": [["192.0.0.192"]],
    "azure.test": [["168.63.129.16"]],
    "several.test": [["10.0.0.1", "127.0.0.1", "::1"]],
    "rebinding.test": [[PUBLIC], ["127.0.0.1"]],
    "flapping.test": [["127.0.0.1"], [PUBLIC]],
    "mixed.test": [[PUBLIC, "127.0.0.1", METADATA]],
    "empty.test": [[]],
}

THIS_MACHINE: Final = _hosts("""
127.0.0.1  127.0.0.2  127.255.255.254  127.1  127.0.1  0177.0.0.1  0177.1  017700000001  00177.00.00.01
0000177.0.0.0001  0x7f.0.0.1  0x7F.0x0.0x0.0x1  0x7f.1  0x7f000001  0X7F000001  2130706433  127.0x1
0x7f.0.1  0177.0x0.1  0  0.0.0.0  00.0  0x0  000000000000  0.0.0.1  localhost  LOCALHOST  LocalHost
localhost.  127.0.0.1.  127.1.  2130706433.  localhost.localdomain  ip6-localhost  ip6-loopback
plain.test  PLAIN.TEST  plain.test.  six.test  mapped.test  any.test  any6.test  several.test  flapping.test
[::1]  [0:0:0:0:0:0:0:1]  [0000:0000:0000:0000:0000:0000:0000:0001]  [::0001]  [::]  [0::0]
[::ffff:127.0.0.1]  [::ffff:7f00:1]  [::FFFF:7F00:0001]  [0:0:0:0:0:ffff:127.0.0.1]  [::ffff:0.0.0.0]
[::127.0.0.1]  [::7f00:1]  [::ffff:0:127.0.0.1]  [::ffff:0:7f00:1]
""")
"""Hosts that are this machine to some resolver or system."""

ELSEWHERE: Final = _hosts("""
10.0.0.0  10.0.0.1  10.255.255.255  172.16.0.0  172.31.255.255  192.168.0.0  192.168.255.255  100.64.0.0
100.127.255.255  169.254.0.0  169.254.169.254  169.254.170.2  169.254.255.255  0.255.255.255  192.0.0.1
192.0.0.192  192.0.2.1  192.88.99.1  198.18.0.0  198.19.255.255  198.51.100.1  203.0.113.1  224.0.0.1
239.255.255.255  240.0.0.1  255.255.255.255  168.63.129.16  100.100.100.200  0xa9fea9fe  2852039166
0251.0376.0251.0376  169.254.43518  0xA9.0xFE.0xA9.0xFE  0xa.1  10.1  167772161  3232235777  0300.0250.1
[fe80::1]  [fe80::1%25lo]  [fe80::1%lo]  [fe80::1%251]  [febf::1]  [fec0::1]  [fc00::1]  [fd00:ec2::254]
[fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]  [ff02::1]  [ff0e::1]  [64:ff9b::10.0.0.1]  [64:ff9b::7f00:1]
[64:ff9b::a9fe:a9fe]  [64:ff9b::a83f:8110]  [64:ff9b:1::1]  [2002:7f00:1::]  [2002:a9fe:a9fe::1]
[2002:a00:1::1]  [2001:0:7f00:1::]  [2001:0:5db8:d822:0:0:80ff:fffe]  [2001:db8::1]  [3fff::1]  [5f00::1]
[2001:20::1]  [100::1]  [::ffff:10.0.0.1]  [::ffff:169.254.169.254]  [::ffff:a9fe:a9fe]  [::10.0.0.1]
[::ffff:168.63.129.16]  [2606:4700::5efe:7f00:1]  [2606:4700::200:5efe:a9fe:a9fe]  [0:0:0:0:0:ffff:c0a8:101]
metadata.test  oracle.test  azure.test  nat64.test  zone.test  printer.local  metadata.google.internal
metadata  router  intranet  server.internal  darkroom.localhost  home.arpa
""")
"""Hosts that are some other machine which no request may reach."""

SPELLED: Final = (
    # Digits, dots and letters of other scripts, which some parsers fold.
    "http://１２７.０.０.１:{port}/",
    "http://127。0。0。1:{port}/",
    "http://127．0．0．1:{port}/",
    "http://127｡0｡0｡1:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://١٢٧.٠.٠.١:{port}/",
    "http://𝟏𝟐𝟕.𝟎.𝟎.𝟏:{port}/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/",
    "http://ｌｏｃａｌｈｏｓｔ:{port}/",
    "http://ﬂapping.test:{port}/",
    "http://loc\u00adalhost:{port}/",
    "http://local\u200bhost:{port}/",
    "http://local\u200dhost:{port}/",
    "http://\u202e1.0.0.721:{port}/",
    "http://ﬁle:{port}/",
    "http://xn--:{port}/",
    "http://xn--a:{port}/",
    "http://xn--0.test:{port}/",
    "http://xn--lcalhost-54b.test:{port}/",
    # Where the host begins and ends.
    "http://example.com@127.0.0.1:{port}/",
    "http://user:password@127.0.0.1:{port}/",
    "http://:@127.0.0.1:{port}/",
    "http://@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@example.com/",
    "http://127.0.0.1:{port}%2f@example.com/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://127.0.0.1:{port}?@example.com/",
    "http://127.0.0.1:{port};@example.com/",
    "http://127.0.0.1:{port}&@example.com/",
    "http://example.com:80@127.0.0.1:{port}/",
    "http://a@b@127.0.0.1:{port}/",
    "http://a:b@c:d@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@example.com/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http://127.0.0.1\\.example.com:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    "http:/\\127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http:////127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "http://127.0.0.1:{port}:80/",
    "http://[::1]:{port}:80/",
    "http://[::1]@example.com:{port}/",
    "http://[::1]example.com:{port}/",
    "http://example.com[::1]:{port}/",
    "http://[::1:{port}/",
    "http://::1:{port}/",
    "http://[127.0.0.1]:{port}/",
    "http://[v1.127.0.0.1]:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://[::1%lo]:{port}/",
    "http://[::1%00]:{port}/",
    "http://[localhost]:{port}/",
    "http://[]:{port}/",
    # Encoded once and twice.
    "http://%31%32%37.0.0.1:{port}/",
    "http://127%2e0%2e0%2e1:{port}/",
    "http://%6c%6f%63%61%6c%68%6f%73%74:{port}/",
    "http://%256c%256f%2563alhost:{port}/",
    "http://%2531%2532%2537.0.0.1:{port}/",
    "http://127.0.0.1%00.example.com:{port}/",
    "http://127.0.0.1%0d%0a.example.com:{port}/",
    "http://127.0.0.1%23.example.com:{port}/",
    "http://127.0.0.1%3a{port}/",
    "http://127.0.0.1%20:{port}/",
    "http%3a//127.0.0.1:{port}/",
    "http://%E2%91%A0%E2%91%A1%E2%91%A6.0.0.1:{port}/",
    # Characters that some parsers drop.
    "http://127.0.0.1\t:{port}/",
    "http://127.0.\n0.1:{port}/",
    "http://127.0.0.1\r\n:{port}/",
    "ht\ntp://127.0.0.1:{port}/",
    "http:\t//127.0.0.1:{port}/",
    "http://\x00127.0.0.1:{port}/",
    "http://127.0.0.1\x00.example.com:{port}/",
    "http://127.0.0.1 :{port}/",
    "http:// 127.0.0.1:{port}/",
    "http://127.0.0.1\x0b:{port}/",
    "http://127.0.0.1\x7f:{port}/",
    "http://127.0.0.1\u2028:{port}/",
    "http://127.0.0.1\ufeff:{port}/",
    "http://\ud800:{port}/",
    "http://localhost:{port}/\ud800",
    "http://localhost:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "http://localhost:{port}/%0d%0aHost:%20x",
    # Ports.
    "http://127.0.0.1:0/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:+80/",
    "http://127.0.0.1:65536/",
    "http://127.0.0.1:99999999999999999999/",
    "http://127.0.0.1:８０/",
    "http://127.0.0.1:0x50/",
    "http://127.0.0.1:80 /",
    "http://127.0.0.1:/",
    "http://127.0.0.1:1e2/",
    "http://93.184.216.34:22/",
    "http://93.184.216.34:6379/",
    "http://93.184.216.34:0/",
    "https://93.184.216.34:8443/",
    # Hosts that are none, or too long for one.
    "http://",
    "http:///",
    "http://:{port}/",
    "http://./",
    "http://../",
    "http://...:{port}/",
    "http://a..b:{port}/",
    "http://.localhost:{port}/",
    "http://localhost..:{port}/",
    "http://*:{port}/",
    "http://-:{port}/",
    "http://?:{port}/",
    "http://#:{port}/",
    "http://" + "a" * 64 + ":{port}/",
    "http://" + "a" * 300 + ".test:{port}/",
    "http://" + "a." * 5000 + "test:{port}/",
    "http://" + "1" * 5000 + ":{port}/",
    "http://4294967297:{port}/",
    "http://340282366920938463463374607431768211457:{port}/",
    "http://127.0.0.1.:{port}:/",
    "http://256.256.256.256:{port}/",
    "http://127.0.0.1.0:{port}/",
    "http://0x:{port}/",
    "http://08.0.0.1:{port}/",
    # Names with other answers the second time, with several, with none.
    "http://rebinding.test:{port}/",
    "http://mixed.test:{port}/",
    "http://empty.test:{port}/",
    # Other schemes.
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "FILE:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "ftps://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_GET%20/",
    "dict://127.0.0.1:{port}/info",
    "ldap://127.0.0.1:{port}/",
    "tftp://127.0.0.1:{port}/",
    "sftp://127.0.0.1:{port}/",
    "ssh://127.0.0.1:{port}/",
    "telnet://127.0.0.1:{port}/",
    "ws://127.0.0.1:{port}/",
    "wss://127.0.0.1:{port}/",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    "unix+http://localhost:{port}/",
    "jar:http://127.0.0.1:{port}/!/a",
    "netdoc:///etc/passwd",
    "php://filter/resource=http://127.0.0.1:{port}/",
    "javascript:fetch('http://127.0.0.1:{port}/')",
    "data:text/html,<img src=http://127.0.0.1:{port}/>",
    "blob:http://127.0.0.1:{port}/x",
    "view-source:http://127.0.0.1:{port}/",
    "url:http://127.0.0.1:{port}/",
    "httpx://127.0.0.1:{port}/",
    "://127.0.0.1:{port}/",
    "127.0.0.1:{port}/",
    "localhost:{port}",
)

REDIRECTS: Final = (
    "http://169.254.169.254/latest/meta-data/",
    "//169.254.169.254/",
    "http://[fd00:ec2::254]/",
    "http://192.0.0.192/opc/v2/",
    "http://metadata.test/",
    "http://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "//localhost:{port}/",
    "///localhost:{port}/",
    "\\\\localhost:{port}\\",
    "http://user:password@localhost:{port}/",
    "http://127.0.0.1:22/",
    "http://127.0.0.1:65536/",
    "http://[::1",
    "http://a..b/",
    "http://" + "a" * 5000 + "/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/",
    "unix:///var/run/docker.sock",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "\x80\xff",
    "http://\x80\xff:{port}/",
    "//",
    "http://",
    "http:",
    ":",
    "?" * 5000,
)
"""Where an answer of a server that may be reached might send us."""

HOSTILE: Final = (
    *(f"http://{host}:{{port}}/latest/meta-data/" for host in THIS_MACHINE),
    *(f"http://{host}:{{port}}/" for host in ELSEWHERE),
    *SPELLED,
)
