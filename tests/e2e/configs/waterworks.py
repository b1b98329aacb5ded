"""A server that looks like one in use, for the pictures of the console in the docs."""

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import trio

import penstock as ps
from penstock_server import Server, Timing

server = Server(title="Waterworks", timing=Timing(grace=1))


@dataclass
class Alarm:
    place: str
    text: str
    severity: Literal["note", "warning", "alarm"] = "note"


server.topic("alarms", accepts=Alarm, retain=500)
server.topic("shift.{team}", accepts=str)


@server.topic("level", retain=10_000)
def level() -> ps.Stream[float]:
    return ps.every(0.1).map(lambda n: round(4 + math.sin(n / 40), 3))


@server.topic("weather", start="demand")
def weather() -> ps.Stream[dict[str, float]]:
    return ps.every(1).map(lambda n: {"rain": round(abs(math.sin(n / 9)), 2)})


@server.topic("flow", retain=5_000)
def flow() -> ps.Stream[dict[str, float]]:
    return ps.every(0.02).map(lambda n: {"in": round(30 + 9 * math.sin(n / 90), 2)})


@ps.producer
async def samples() -> AsyncIterator[int]:
    number = 0
    while True:
        for _ in range(55):
            number += 1
            yield number
        await trio.sleep(2)


async def analyse(sample: int) -> dict[str, Any]:
    await trio.sleep(0.036)
    return {"sample": sample, "ph": round(7 + math.sin(sample) / 5, 2), "turbidity": sample % 4}


@server.topic("quality", retain=2_000)
def quality() -> ps.Stream[dict[str, Any]]:
    plant = samples().filter(lambda n: n % 11 > 0)
    sensors = ps.every(0.5).map(lambda n: 100_000 + n)
    taken = ps.merge(plant, sensors).buffer(80)
    return taken.map_async(analyse, concurrency=1)


@server.job("survey", accepts=object, detach=600)
def survey(_: Any) -> ps.Stream[int]:
    return ps.every(0.2)
