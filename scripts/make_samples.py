"""Create the small media files in sandbox/samples: `python scripts/make_samples.py`.

The files are committed, so run this only to change them.
"""

import io
import math
import wave
from array import array
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

SAMPLES = Path(__file__).parents[1] / "sandbox" / "samples"
WIDTH, HEIGHT = 320, 180  # pixels
FRAMES_PER_SECOND = 25
SECONDS = 2
AUDIO_RATE = 24_000  # samples a second
BALL = 18  # pixels of the radius


def make_picture(moment: float) -> VideoFrame:
    """Return a picture of a ball that moves over a gradient.

    Args:
        moment: The ball's progress, from 0 to 1.
    """
    center_x = BALL + moment * (WIDTH - 2 * BALL)
    center_y = HEIGHT - BALL - abs(math.sin(moment * 3 * math.pi)) * (HEIGHT - 3 * BALL)
    pixels = bytearray()
    for y in range(HEIGHT):
        for x in range(WIDTH):
            inside = (x - center_x) ** 2 + (y - center_y) ** 2 < BALL**2
            background = (30, 40 + y // 3, 90 + x // 4)
            pixels += bytes((255, 190, 60) if inside else background)
    frame = VideoFrame(WIDTH, HEIGHT, "rgb24")
    frame.planes[0].update(bytes(pixels))
    return frame


def make_tone() -> bytes:
    """Return a tone that rises and fades, as 16-bit samples."""
    count = SECONDS * AUDIO_RATE
    samples = array("h")
    for i in range(count):
        done = i / count
        wave_at = math.sin(2 * math.pi * (330 + 110 * done) * i / AUDIO_RATE)
        samples.append(round(9000 * (1 - done) * wave_at))
    return samples.tobytes()


def write_video(path: Path) -> None:
    """Write pictures and tone as MP4 with H.264 and AAC, which every browser plays."""
    with av.open(path, "w", options={"movflags": "faststart"}) as output:
        picture = output.add_stream("libx264", FRAMES_PER_SECOND, options={"crf": "30"})
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        tone = output.add_stream("aac", AUDIO_RATE, layout="mono")
        tone.bit_rate = 48_000
        write_pictures(output, picture)
        write_tone(output, tone)


def write_pictures(output: OutputContainer, stream: VideoStream) -> None:
    """Encode the pictures of the moving ball."""
    count = SECONDS * FRAMES_PER_SECOND
    for number in range(count):
        frame = make_picture(number / (count - 1)).reformat(format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def write_tone(output: OutputContainer, stream: AudioStream) -> None:
    """Encode the tone."""
    with av.open(io.BytesIO(wave_bytes()), "r") as source:
        for frame in source.decode(audio=0):
            output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def wave_bytes() -> bytes:
    """Return the tone as a WAV file: mono, 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(AUDIO_RATE)
        file.writeframes(make_tone())
    return buffer.getvalue()


def write_image(path: Path) -> None:
    """Write one picture as PNG."""
    with av.open(path, "w", format="image2", options={"update": "1"}) as output:
        stream = output.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24"
        frame = make_picture(0.4)
        frame.pts, frame.time_base = 0, Fraction(1)
        output.mux([*stream.encode(frame), *stream.encode(None)])


if __name__ == "__main__":
    SAMPLES.mkdir(exist_ok=True)
    write_video(SAMPLES / "sample.mp4")
    (SAMPLES / "sample.wav").write_bytes(wave_bytes())
    write_image(SAMPLES / "sample.png")
