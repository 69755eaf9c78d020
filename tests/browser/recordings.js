import assert from "node:assert/strict";

/** Return every combination of a container and the codecs, as a media type. */
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
 * The media types of Safari's recordings. WebKit writes the container, `; codecs=` and the codecs, separated by commas
 * and without quotes (`MediaRecorderPrivateEncoder.cpp`); an app may use the type that it requested. Safari records MP4
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

/** Wait until all blobs are registered, and assert their types, the sent content types, and their bytes. */
async function assertRegistered(fixture, sent) {
  const entries = await fixture.until((all) => all.every(({ asset, error }) => asset || error));
  assert.deepEqual(entries.map(({ error }) => error).filter(Boolean), []);
  const uploads = new Map((await fixture.uploads()).map((upload) => [upload.id, upload]));
  for (const [index, { type, digest }] of sent.entries()) {
    const upload = uploads.get(entries[index].id);
    assert.equal(upload.contentType, essenceOf(type), type);
    assert.equal(upload.asset.type, familyOf(type), type);
    await fixture.assertDigest(upload.asset.id, digest);
  }
  const puts = fixture.network.requests.filter(({ method }) => method === "PUT");
  assert.deepEqual(
    puts.map(({ type }) => type).sort(),
    sent.map(({ type }) => essenceOf(type)).sort(),
  );
}

/** Record this kind of media in every format of the engine, and upload one recording of each type. */
async function playKind(fixture, kind) {
  const mimeTypes = await fixture.page.evaluate(
    (types) => harness.recordable(types),
    MIME_TYPES[kind],
  );
  assert.ok(mimeTypes.length > 0, `${fixture.engine.name} records no ${kind}`);
  const sent = await fixture.page.evaluate((...args) => harness.record(...args), kind, [
    "",
    ...mimeTypes,
  ]);
  assert.deepEqual(
    sent.map(({ type }) => familyOf(type)),
    sent.map(() => (kind === "audio" ? "AUDIO" : "VIDEO")),
  );
  await assertRegistered(fixture, sent);
  await playApi(fixture, sent[0]);
}

/** Upload a recording with the HTTP API. Without a type, the file's extension decides. */
async function playApi(fixture, { type }) {
  const extension = essenceOf(type).split("/x-").at(-1).split("/").at(-1);
  for (const [by, reported] of [
    ["fetch", type],
    ["xhr", type],
    ["fetch", ""],
  ]) {
    fixture.network.requests.length = 0;
    const name = `take.${extension}`;
    const { begun, upload, digest } = await fixture.page.evaluate(
      (options) => harness.uploadByApi(options),
      { name, type: reported, by },
    );
    assert.deepEqual(begun.headers, { "Content-Type": begun.contentType });
    if (reported) assert.equal(begun.contentType, essenceOf(type));
    assert.equal(upload.status, "registered");
    const put = fixture.network.requests.find(({ method }) => method === "PUT");
    assert.equal(put.type, begun.contentType);
    await fixture.assertDigest(upload.asset.id, digest);
  }
}

async function playSafari(fixture) {
  const sent = await fixture.page.evaluate(
    (types) => harness.sendBlobs(types.map((type) => new Blob([crypto.randomUUID()], { type }))),
    SAFARI,
  );
  assert.equal(sent.length, SAFARI.length);
  await assertRegistered(fixture, sent);
}

/**
 * Return the scenarios of an engine. WebKitGTK has a recorder only if it is built with GStreamer's transcoder, which
 * Debian 12 does not do ("The MediaRecorder is unsupported on this platform"). So WebKit sends Safari's media types.
 */
export const recordingsOf = (engine) =>
  engine === "WebKit"
    ? { "recordings with Safari's media types": playSafari }
    : {
        "recordings of sound": (fixture) => playKind(fixture, "audio"),
        "recordings of a picture without sound": (fixture) => playKind(fixture, "video"),
        "recordings of a picture with sound": (fixture) => playKind(fixture, "both"),
      };
