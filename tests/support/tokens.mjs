// Makes tokens and key sets with a library that is not the broker's: one JSON request a line, one answer a line.
//
//   {"sign": {claims}, "alg", "key", "header"?}   a token, by jose
//   {"raw": "payload", "header", "key"}           any bytes in any shape, signed as the header says or RS256
//   {"set": ["rsa-1", "ec-1"], "with"?: {...}}    the public halves as a JSON Web Key Set
//   {"pem": "rsa-1"}                              the public half as PEM
//
// Keys are made when they are first named: `rsa…`, `small…` (1024 bits), `ec…` (P-256), `p384…`, `okp…` (Ed25519),
// `okp448…`; a name that begins with `secret:` is a shared secret.
import crypto from "node:crypto";
import readline from "node:readline";
import { exportJWK, SignJWT } from "jose";

const made = new Map();

function pair(name) {
  if (!made.has(name)) {
    const options = {
      rsa: ["rsa", { modulusLength: 2048 }],
      small: ["rsa", { modulusLength: 1024 }],
      ec: ["ec", { namedCurve: "P-256" }],
      p384: ["ec", { namedCurve: "P-384" }],
      okp: ["ed25519"],
      okp448: ["ed448"],
    };
    made.set(name, crypto.generateKeyPairSync(...options[name.split("-")[0]]));
  }
  return made.get(name);
}

function signing(name) {
  return name.startsWith("secret:")
    ? new TextEncoder().encode(name.slice(7))
    : pair(name).privateKey;
}

function raw({ raw: payload, header, key }) {
  const encode = (text) => Buffer.from(text).toString("base64url");
  const input = `${encode(JSON.stringify(header))}.${encode(payload)}`;
  const secret = signing(key);
  const signature = key.startsWith("secret:")
    ? crypto.createHmac("sha256", secret).update(input).digest()
    : crypto.sign(key.startsWith("okp") ? null : "sha256", Buffer.from(input), {
        key: secret,
        dsaEncoding: "ieee-p1363",
      });
  return `${input}.${signature.toString("base64url")}`;
}

async function answer(request) {
  if ("raw" in request) return raw(request);
  if ("pem" in request) return pair(request.pem).publicKey.export({ type: "spki", format: "pem" });
  if ("set" in request) {
    const keys = request.set.map(async (name) => ({
      ...(await exportJWK(pair(name).publicKey)),
      kid: name,
      ...request.with,
    }));
    return { keys: await Promise.all(keys) };
  }
  const header = { alg: request.alg, ...request.header };
  return new SignJWT(request.sign).setProtectedHeader(header).sign(signing(request.key));
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
