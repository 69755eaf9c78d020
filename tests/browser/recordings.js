import assert from "node:assert/strict";

/** Every container with every codec that a recorder may be asked for, by what is recorded. */
const combined = (family, containers, codecs) =>
  containers.flatMap((container) =>
    ["", ...codecs].map((codec) => `${family}/${container}${codec && `;codecs=${codec}`}`),
  );
const CONTAINERS = ["webm", "mp4", "ogg", "x-matroska"];
const MIME_TYPES = {
  audio: combined("audio", CONTAINERS, ["opus", "pcm", "vorbis", "flac", "alac", "mp4a.40.2"]),
  video: combined("video", CONTAINERS, [
    "vp8",
    "vp9",
    "av1",
    "h264",
    "avc1",
    "avc1.42E01E",
    "hvc1",
  ]),
  both: combined("video", CONTAINERS, [
    "vp8,opus",
    "vp9,opus",
    "av1,opus",
    "h264,opus",
    "avc1,opus",
    "vp8,pcm",
    "avc1,pcm",
    "avc1.42000a,mp4a.40.2",
  ]).concat('video/webm; codecs="vp8, opus"', "VIDEO/WEBM;CODECS=VP8,OPUS"),
};

/**
 * What Safari calls its recordings. WebKit writes the container, `; codecs=` and the codecs with a comma between them
 * and no quotes (`MediaRecorderPrivateEncoder.cpp`); an app may pass on the type that it asked for. Safari records MP4
 * since 14.1 (webkit.org/blog/11353/mediarecorder-api), and WebM, ALAC and PCM since 18.4 (its release notes).
 */
const SAFARI = [
  "video/mp4",
  "video/mp4; codecs=avc1.42000a,mp4a.40.2",
  "video/mp4;codecs=avc1.42000a,mp4a.40.2",
  "video/mp4; codecs=avc1.42000a,opus",
  "video/mp4; codecs=hev1.1.6.L93.B0,mp4a.40.2",
  "video/mp4; codecs=av01.0.01M.08,opus",
  'video/mp4; codecs="avc1.4d002a, mp4a.40.2"',
  "video/mp4;codecs=avc1.42000a",
  "video/webm; codecs=vp8,opus",
  "video/webm;codecs=vp8,opus",
  "video/webm; codecs=vp09.00.10.08,opus",
  "audio/mp4",
  "audio/mp4; codecs=mp4a.40.2",
  "audio/mp4;codecs=mp4a.40.2",
  "audio/mp4; codecs=opus",
  "audio/mp4; codecs=alac",
  "audio/mp4; codecs=pcm",
  "audio/webm",
  "audio/webm; codecs=opus",
  "audio/webm;codecs=opus",
  "audio/webm; codecs=pcm",
];

const essenceOf = (mimeType) => mimeType.split(";")[0].trim().toLowerCase();
const familyOf = (mimeType) => mimeType.split("/")[0].toUpperCase();

/** Waits until everything is registered; asserts what the broker decided, what was signed and sent, and the bytes. */
async function assertRegistered(stage, sent) {
  const told = await stage.until((entries) => entries.every(({ asset, error }) => asset || error));
  assert.deepEqual(told.map(({ error }) => error).filter(Boolean), []);
  const uploads = new Map((await stage.uploads()).map((upload) => [upload.id, upload]));
  for (const [index, { type, digest }] of sent.entries()) {
    const upload = uploads.get(told[index].id);
    assert.equal(upload.contentType, essenceOf(type), type);
    assert.equal(upload.asset.type, familyOf(type), type);
    await stage.assertDigest(upload.asset.id, digest);
  }
  const puts = stage.network.passed.filter(({ method }) => method === "PUT");
  assert.deepEqual(
    puts.map(({ type }) => type).sort(),
    sent.map(({ type }) => essenceOf(type)).sort(),
  );
}

/** Records this kind of media in every way that the engine has, and uploads what is called differently. */
async function playKind(stage, kind) {
  const mimeTypes = await stage.page.evaluate(
    (types) => harness.recordable(types),
    MIME_TYPES[kind],
  );
  assert.ok(mimeTypes.length > 0, `${stage.engine.name} records no ${kind}`);
  const sent = await stage.page.evaluate((...args) => harness.record(...args), kind, [
    "",
    ...mimeTypes,
  ]);
  assert.deepEqual(
    sent.map(({ type }) => familyOf(type)),
    sent.map(() => (kind === "audio" ? "AUDIO" : "VIDEO")),
  );
  await assertRegistered(stage, sent);
  await playApi(stage, sent[0]);
}

/** Uploads a recording by the HTTP API alone; the name tells the type where the page has lost it. */
async function playApi(stage, { type }) {
  const extension = essenceOf(type).split("/x-").at(-1).split("/").at(-1);
  for (const [by, reported] of [
    ["fetch", type],
    ["xhr", type],
    ["fetch", ""],
  ]) {
    stage.network.passed.length = 0;
    const name = `take.${extension}`;
    const { begun, upload, digest } = await stage.page.evaluate(
      (options) => harness.uploadByApi(options),
      { name, type: reported, by },
    );
    assert.deepEqual(begun.headers, { "Content-Type": begun.contentType });
    if (reported) assert.equal(begun.contentType, essenceOf(type));
    assert.equal(upload.status, "registered");
    const put = stage.network.passed.find(({ method }) => method === "PUT");
    assert.equal(put.type, begun.contentType);
    await stage.assertDigest(upload.asset.id, digest);
  }
}

async function playSafari(stage) {
  const sent = await stage.page.evaluate(
    (types) => harness.sendBlobs(types.map((type) => new Blob([crypto.randomUUID()], { type }))),
    SAFARI,
  );
  assert.equal(sent.length, SAFARI.length);
  await assertRegistered(stage, sent);
}

/**
 * The scenarios of an engine. WebKitGTK has no recorder unless it is built with GStreamer's transcoder. Debian 12 does
 * not do that ("The MediaRecorder is unsupported on this platform"), so WebKit sends what Safari would send.
 */
export const recordingsOf = (engine) =>
  engine === "WebKit"
    ? { "recordings by Safari's names": playSafari }
    : {
        "recordings of sound": (stage) => playKind(stage, "audio"),
        "recordings of a picture without sound": (stage) => playKind(stage, "video"),
        "recordings of a picture with sound": (stage) => playKind(stage, "both"),
      };
