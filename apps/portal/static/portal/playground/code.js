/** The same request as code, in four languages. Each literal is written by its language's own rules. */

const KEY = "DARKROOM_API_KEY";

/** Text in single quotes for a POSIX shell. */
const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function curl(address, body) {
  return [
    `curl ${shell(`${address}/v1/jobs`)} \\`,
    `  -H "Authorization: Bearer $${KEY}" \\`,
    "  -H 'Content-Type: application/json' \\",
    "  -H 'Prefer: wait=60' \\",
    `  -d ${shell(JSON.stringify(body, null, 2))}`,
  ].join("\n");
}

function pythonLiteral(value, indent = "") {
  const inner = `${indent}    `;
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) {
    return `[\n${value.map((each) => `${inner}${pythonLiteral(each, inner)},\n`).join("")}${indent}]`;
  }
  if (typeof value === "object") {
    const rows = Object.entries(value).map(([name, each]) => `${inner}${JSON.stringify(name)}: ${pythonLiteral(each, inner)},\n`);
    return `{\n${rows.join("")}${indent}}`;
  }
  return JSON.stringify(value);
}

function python(address, { kind, ...fields }) {
  const rows = Object.entries(fields).map(([name, value]) => `        ${name}=${pythonLiteral(value, "        ")},`);
  return [
    "import os",
    "",
    "from darkroom import Darkroom",
    "",
    `with Darkroom(${JSON.stringify(address)}, os.environ["${KEY}"]) as client:`,
    "    job = client.generate(",
    `        ${JSON.stringify(kind)},`,
    ...rows,
    "    )",
    '    print(client.jobs.save(job, "pictures"))',
  ].join("\n");
}

function javascript(address, body) {
  return [
    `const response = await fetch(${JSON.stringify(`${address}/v1/jobs`)}, {`,
    '  method: "POST",',
    "  headers: {",
    `    Authorization: \`Bearer \${process.env.${KEY}}\`,`,
    '    "Content-Type": "application/json",',
    '    Prefer: "wait=60",',
    "  },",
    `  body: JSON.stringify(${JSON.stringify(body, null, 2).replaceAll("\n", "\n  ")}),`,
    "});",
    "const job = await response.json();",
    "if (!response.ok) throw new Error(job.detail);",
    "console.log(job.images.map((image) => image.url));",
  ].join("\n");
}

/** Text in single quotes for PHP. */
const phpText = (text) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;

function phpLiteral(value, indent = "") {
  const inner = `${indent}    `;
  if (value === null || typeof value === "boolean" || typeof value === "number") return JSON.stringify(value);
  if (typeof value === "string") return phpText(value);
  const rows = Array.isArray(value)
    ? value.map((each) => `${inner}${phpLiteral(each, inner)},\n`)
    : Object.entries(value).map(([name, each]) => `${inner}${phpText(name)} => ${phpLiteral(each, inner)},\n`);
  return `[\n${rows.join("")}${indent}]`;
}

function php(address, body) {
  return [
    "<?php",
    `$request = curl_init(${phpText(`${address}/v1/jobs`)});`,
    "curl_setopt_array($request, [",
    "    CURLOPT_POST => true,",
    "    CURLOPT_RETURNTRANSFER => true,",
    "    CURLOPT_HTTPHEADER => [",
    `        'Authorization: Bearer ' . getenv('${KEY}'),`,
    "        'Content-Type: application/json',",
    "        'Prefer: wait=60',",
    "    ],",
    `    CURLOPT_POSTFIELDS => json_encode(${phpLiteral(body, "    ")}),`,
    "]);",
    "$job = json_decode(curl_exec($request), true);",
    "foreach ($job['images'] as $image) {",
    "    echo $image['url'], PHP_EOL;",
    "}",
  ].join("\n");
}

/** What the tabs show, in their order. */
export const LANGUAGES = [
  { code: "curl", label: "curl", write: curl },
  { code: "python", label: "Python", write: python },
  { code: "javascript", label: "JavaScript", write: javascript },
  { code: "php", label: "PHP", write: php },
];
