"""XMP packets that say where a picture comes from, in the words of IPTC, and carry our settings.

Source: IPTC Photo Metadata Standard 2023.1, "Digital Source Type"; Adobe XMP part 1.
"""

from __future__ import annotations

import html
import re
from typing import Final
from xml.sax.saxutils import quoteattr

SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"

KEYWORD: Final = "XML:com.adobe.xmp"
"""Of the PNG chunk that holds a packet."""

OUR_NAMESPACE: Final = "urn:darkroom:xmp:1"

PACKET: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about=""{attributes}/>'
    "</rdf:RDF></x:xmpmeta>"
    '<?xpacket end="w"?>'
)

NOT_IN_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

SETTINGS: Final = re.compile(r"darkroom:settings=(\"[^\"]*\"|'[^']*')")


def packet(*, source_type: str = "", settings: str = "") -> bytes:
    """A packet in UTF-8 with an IPTC digital source type, our settings as JSON, or both; b"" with neither."""
    attributes = ""
    if source_type:
        attributes += ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        attributes += f" Iptc4xmpExt:DigitalSourceType={quoteattr(SOURCE_TYPES + source_type)}"
    if settings:
        attributes += f' xmlns:darkroom="{OUR_NAMESPACE}"'
        attributes += f" darkroom:settings={quoteattr(NOT_IN_XML.sub('', settings))}"
    return PACKET.format(attributes=attributes).encode() if attributes else b""


def settings_of(data: bytes) -> str:
    """Our settings in a packet, as `packet` wrote them; "" when there are none.

    Looked for as text: a picture's packet may be from anyone, and no XML parser needs to see it.
    """
    found = SETTINGS.search(data.decode(errors="replace"))
    return html.unescape(found[1][1:-1]) if found else ""
