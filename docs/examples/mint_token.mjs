// Makes a token for a user, as your app's backend does: `node mint_token.mjs USER_ID`.
import { SignJWT } from "jose";

const secret = new TextEncoder().encode(process.env.JWT_SECRET);
const token = await new SignJWT({
  // Optional: what this user may do, within the broker's own limits.
  upload: { maxBytes: 500_000_000, contentTypes: ["video/*"], perDay: 20 },
})
  .setProtectedHeader({ alg: "HS256" })
  .setSubject(process.argv[2]) // whoever is signed in; never taken from the browser's request
  .setExpirationTime("1h") // the browser gets a new one when this is over
  .sign(secret);
console.log(token);
