"""One chunk of `hits`, column by column."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import words
from .hits_text import Pages
from .skew import Weighted, Zipf, mix, signed, unit

JULY_2013 = 1372636800  # seconds since 1970, UTC
DAYS = 31
# Values that the queries name.
COUNTER_62, RANK_OF_62 = 62, 17
USER_OF_QUERY_20 = 435090932899640449

RESOLUTIONS = Weighted(
    {
        (1366, 768): 30,
        (1280, 1024): 14,
        (1920, 1080): 13,
        (1024, 768): 9,
        (1280, 800): 9,
        (1440, 900): 7,
        (1600, 900): 6,
        (1680, 1050): 5,
        (320, 480): 3,
        (360, 640): 2,
        (768, 1024): 2,
        (0, 0): 2,
    }
)
OS = Weighted({44: 35, 2: 20, 42: 12, 43: 10, 3: 6, 7: 5, 15: 4, 9: 3, 17: 2, 4: 1, 0: 2})
AGENT = Weighted({5: 28, 3: 22, 2: 16, 7: 12, 4: 8, 82: 6, 13: 4, 48: 2, 40: 1, 0: 1})
PHONES = Weighted(
    {
        "": 942,
        "iPad": 26,
        "iPhone": 9,
        "A500": 4,
        "GT-N7100": 3,
        "GT-I9300": 3,
        "N8-00": 2,
        "GT-P3110": 2,
        "Nexus 7": 2,
        "HTC Desire": 1,
        "LG Optimus": 1,
        "Xperia Z": 1,
        "Lumia 920": 1,
        "c6603": 1,
        "ThinkPad": 1,
        "eagle75": 1,
    }
)
ADV = Weighted(
    {0: 99370, 2: 404, 27: 113, 13: 46, 45: 39, 44: 10, 3: 5, 62: 5, 52: 4, 50: 2, 28: 2}
)
SEARCH = Weighted({2: 62, 3: 22, 21: 6, 4: 4, 20: 3, 19: 1, 7: 1, 31: 1})
TRAFFIC = Weighted({-1: 38, 6: 20, 2: 14, 1: 12, 3: 6, 0: 5, 4: 3, 7: 2})
LANGUAGE = Weighted({"ru": 78, "en": 9, "uk": 6, "tr": 2, "de": 2, "be": 1, "kk": 1, "": 1})
COUNTRY = Weighted({"RU": 60, "UA": 13, "BY": 6, "KZ": 5, "TR": 4, "DE": 3, "US": 3, "": 6})
CHARSET = Weighted({"windows": 30, "utf-8": 68, "koi8-r": 1, "": 1})
COLOR = Weighted({"5": 52, "6": 20, "t": 8, "R": 7, "h": 7, "D": 6})
MINOR = Weighted(
    {"0": 40, "8": 9, "11": 8, "D": 6, "62": 5, "21": 5, "0.": 4, "": 12, "5": 6, "7": 5}
)
FLASH = Weighted({11: 60, 10: 15, 15: 5, 0: 20})
UTM = ["", "yandex", "google", "direct", "mail", "vk", "partner", "news", "banner"]


class World:
    """What does not depend on the chunk: universes and their skew."""

    def __init__(self, rows: int, seed: int):
        self.rows, self.seed = rows, seed
        self.users = Zipf(max(100, rows // 5), 0.75, shift=20.0)
        self.counters = Zipf(6500, 1.05, shift=4.0)
        self.regions = Zipf(5000, 1.3, shift=2.0)
        self.pages = Pages(rows, seed)


def chunk(world: World, rng: np.random.Generator, first: int, count: int) -> dict:
    """All columns of rows first..first+count, in the order of arrival."""
    draw = lambda: rng.random(count)  # noqa: E731
    rank = world.counters.draw(draw())
    user = world.users.draw(draw())
    row = np.arange(first, first + count, dtype=np.int64)
    seconds = ((row + draw()) * (DAYS * 86400 / world.rows)).astype(np.int64)
    seconds += (20000 * np.sin(seconds / 86400 * 2 * np.pi)).astype(np.int64) % 600
    seconds = np.minimum(seconds, DAYS * 86400 - 1)

    columns = _identity(rank, user, row, seconds)
    columns |= _device(world, user)
    columns |= _traffic(world, rng, count, rank, user)
    columns |= world.pages.columns(
        rng, count, rank, world.counters.share(rank), columns["SearchEngineID"]
    )
    columns |= _flags(rng, count)
    columns |= _timings(rng, count)
    columns |= _rare_text(rng, count)
    return columns


def _counter_id(rank: np.ndarray) -> np.ndarray:
    ids = 100 + (mix(rank, 7) % np.uint64(250_000)).astype(np.int64)
    return np.where(rank == RANK_OF_62, COUNTER_62, ids)


def _identity(rank, user, row, seconds) -> dict:
    time = JULY_2013 + seconds
    ids = signed(mix(user, 1)) & np.int64(2**62 - 1)
    lag = (mix(user, 2) % np.uint64(7200)).astype(np.int64) - 3600
    millis = lambda t: pa.array(t * 1000).cast(pa.timestamp("ms"))  # noqa: E731
    return {
        "WatchID": signed(mix(row, 3)) & np.int64(2**63 - 1),
        "UserID": np.where(user == 12_345 % max(1, len(row)), USER_OF_QUERY_20, ids),
        "FUniqID": signed(mix(user, 4)) & np.int64(2**62 - 1),
        "CounterID": _counter_id(rank),
        "CounterClass": (mix(rank, 5) % np.uint64(3)).astype(np.int64) - 1,
        "EventTime": millis(time),
        "EventDate": pa.array((time // 86400).astype(np.int32)).cast(pa.date32()),
        "ClientEventTime": millis(time + lag),
        "LocalEventTime": millis(time + lag // 3),
        "ClientTimeZone": 120 + 60 * (mix(user, 6) % np.uint64(6)).astype(np.int64),
        "HID": (mix(row // 2, 8) % np.uint64(2**30)).astype(np.int64),
    }


def _device(world: World, user) -> dict:
    attribute = lambda salt: unit(mix(user, salt))  # noqa: E731
    screen = RESOLUTIONS.draw(attribute(20))
    width = np.array([w for w, _ in RESOLUTIONS.values])[RESOLUTIONS.index(attribute(20))]
    height = np.array([h for _, h in screen])
    model = PHONES.draw(attribute(22))
    phone = np.where(model == "", 0, PHONES.index(attribute(22)) * 3 % 80)
    ip = signed(mix(user, 23)) % np.int64(2**31)
    return {
        "ResolutionWidth": width,
        "ResolutionHeight": height,
        "ResolutionDepth": np.where(width == 0, 0, 24),
        "WindowClientWidth": np.maximum(width - (mix(user, 24) % np.uint64(80)).astype(int), 0),
        "WindowClientHeight": np.maximum(
            height - 60 - (mix(user, 25) % np.uint64(120)).astype(int), 0
        ),
        "OS": OS.draw(attribute(26)),
        "UserAgent": AGENT.draw(attribute(27)),
        "UserAgentMajor": (attribute(28) ** 2 * 30).astype(int),
        "UserAgentMinor": MINOR.draw(attribute(29)),
        "MobilePhone": phone,
        "MobilePhoneModel": model,
        "IsMobile": (phone != 0).astype(int),
        "RegionID": world.regions.draw(attribute(30)) + 1,
        "ClientIP": ip,
        "RemoteIP": np.where(attribute(31) < 0.9, ip, signed(mix(user, 32)) % np.int64(2**31)),
        "IPNetworkID": (attribute(33) ** 3 * 4_000_000).astype(int),
        "FlashMajor": FLASH.draw(attribute(34)),
        "FlashMinor": (attribute(35) * 9).astype(int),
        "FlashMinor2": np.array(["", "700", "202", "224", "169"], dtype=object)[
            (attribute(36) * 5).astype(int)
        ],
        "NetMajor": (attribute(37) * 5).astype(int),
        "NetMinor": (attribute(38) * 5).astype(int),
        "SilverlightVersion1": np.where(attribute(39) < 0.4, 5, 0),
        "SilverlightVersion2": np.where(attribute(39) < 0.4, 1, 0),
        "SilverlightVersion3": np.where(attribute(39) < 0.4, 20125, 0),
        "SilverlightVersion4": np.zeros(len(user), int),
        "BrowserLanguage": LANGUAGE.draw(attribute(40)),
        "BrowserCountry": COUNTRY.draw(attribute(41)),
        "Age": np.array([0, 16, 22, 31, 39, 50])[(attribute(42) * 6).astype(int)],
        "Sex": (attribute(43) * 3).astype(int),
        "Income": (attribute(44) * 5).astype(int),
        "Interests": np.where(attribute(45) < 0.5, 0, (attribute(46) * 32767).astype(int)),
        "Robotness": np.where(attribute(47) < 0.97, 0, 1 + (attribute(48) * 60).astype(int)),
    }


def _traffic(world: World, rng, count, rank, user) -> dict:
    searched = rng.random(count) < 0.132
    engine = np.where(searched, SEARCH.draw(rng.random(count)), 0)
    region = world.regions.draw(unit(mix(rank, 50))) + 1
    return {
        "SearchEngineID": engine,
        "AdvEngineID": ADV.draw(rng.random(count)),
        "TraficSourceID": np.where(searched, 2, TRAFFIC.draw(rng.random(count))),
        "RefererCategoryID": np.where(
            rng.random(count) < 0.7, 0, (rng.random(count) ** 2 * 16000).astype(int)
        ),
        "RefererRegionID": np.where(rng.random(count) < 0.5, 0, region),
        "URLCategoryID": (unit(mix(rank, 51)) ** 3 * 16000).astype(int),
        "URLRegionID": np.where(unit(mix(rank, 52)) < 0.4, 0, region),
        "CodeVersion": 100 + (unit(mix(rank, 53)) ** 4 * 1600).astype(int),
        "PageCharset": CHARSET.draw(unit(mix(rank, 54))),
    }


def _flags(rng, count) -> dict:
    chance = lambda p: (rng.random(count) < p).astype(np.int16)  # noqa: E731
    return {
        "JavaEnable": chance(0.72),
        "GoodEvent": np.ones(count, np.int16),
        "IsRefresh": chance(0.11),
        "CookieEnable": chance(0.96),
        "JavascriptEnable": chance(0.97),
        "IsArtifical": chance(0.2),
        "IsLink": chance(0.09),
        "IsDownload": chance(0.002),
        "IsNotBounce": chance(0.15),
        "IsOldCounter": chance(0.01),
        "IsEvent": chance(0.05),
        "IsParameter": chance(0.02),
        "DontCountHits": chance(0.08),
        "WithHash": chance(0.04),
        "HasGCLID": chance(0.01),
        "HitColor": COLOR.draw(rng.random(count)),
        "WindowName": np.where(rng.random(count) < 0.6, -1, rng.integers(0, 2**31 - 1, count)),
        "OpenerName": np.where(rng.random(count) < 0.9, -1, rng.integers(0, 2**31 - 1, count)),
        "HistoryLength": np.where(
            rng.random(count) < 0.3, -1, (rng.random(count) ** 4 * 50).astype(int)
        ),
        "HTTPError": np.where(rng.random(count) < 0.999, 0, 404),
        "CLID": np.where(rng.random(count) < 0.97, 0, rng.integers(1, 2_000_000, count)),
    }


def _timings(rng, count) -> dict:
    present = rng.random(count) < 0.35

    def timing(scale: float) -> np.ndarray:
        return np.where(
            present, np.minimum(rng.lognormal(np.log(scale), 1.2, count), 1e6).astype(int), -1
        )

    return {
        "SendTiming": timing(3000),
        "DNSTiming": timing(20),
        "ConnectTiming": timing(60),
        "ResponseStartTiming": timing(250),
        "ResponseEndTiming": timing(150),
        "FetchTiming": timing(900),
    }


def _rare_text(rng, count) -> dict:
    def rare(probability: float, values: list[str]) -> pa.Array:
        index = np.where(rng.random(count) < probability, rng.integers(1, len(values), count), 0)
        return pc.take(pa.array(values), pa.array(index))

    names = [""] + words.english(200, 9).to_pylist()
    priced = rng.random(count) < 0.003
    orders = pc.if_else(
        pa.array(priced), pa.array(rng.integers(0, 10**9, count)).cast(pa.string()), ""
    )
    return {
        "Params": rare(0.01, names),
        "SocialNetwork": rare(0.003, ["", "vkontakte", "facebook", "twitter"]),
        "SocialAction": rare(0.003, ["", "like", "share", "tweet"]),
        "SocialSourceNetworkID": np.where(rng.random(count) < 0.98, 0, rng.integers(1, 8, count)),
        "SocialSourcePage": rare(0.01, names),
        "ParamPrice": np.where(priced, rng.integers(1, 500_000, count), 0),
        "ParamOrderID": orders,
        "ParamCurrency": pc.if_else(pa.array(priced), "RUB", "NH"),
        "ParamCurrencyID": np.where(priced, 643, 0),
        "OpenstatServiceName": rare(0.02, names),
        "OpenstatCampaignID": rare(0.02, names),
        "OpenstatAdID": rare(0.02, names),
        "OpenstatSourceID": rare(0.02, names),
        "UTMSource": rare(0.05, UTM),
        "UTMMedium": rare(0.05, ["", "cpc", "cpm", "email", "organic"]),
        "UTMCampaign": rare(0.05, names),
        "UTMContent": rare(0.03, names),
        "UTMTerm": rare(0.03, names),
        "FromTag": rare(0.01, names),
    }
