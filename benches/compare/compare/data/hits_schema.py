"""The 105 columns of ClickBench's `hits`, with its names, order and types."""

from __future__ import annotations

import pyarrow as pa

_COLUMNS = """
WatchID bigint, JavaEnable smallint, Title text, GoodEvent smallint, EventTime timestamp,
EventDate date, CounterID integer, ClientIP integer, RegionID integer, UserID bigint,
CounterClass smallint, OS smallint, UserAgent smallint, URL text, Referer text,
IsRefresh smallint, RefererCategoryID smallint, RefererRegionID integer,
URLCategoryID smallint, URLRegionID integer, ResolutionWidth smallint,
ResolutionHeight smallint, ResolutionDepth smallint, FlashMajor smallint, FlashMinor smallint,
FlashMinor2 text, NetMajor smallint, NetMinor smallint, UserAgentMajor smallint,
UserAgentMinor varchar, CookieEnable smallint, JavascriptEnable smallint, IsMobile smallint,
MobilePhone smallint, MobilePhoneModel text, Params text, IPNetworkID integer,
TraficSourceID smallint, SearchEngineID smallint, SearchPhrase text, AdvEngineID smallint,
IsArtifical smallint, WindowClientWidth smallint, WindowClientHeight smallint,
ClientTimeZone smallint, ClientEventTime timestamp, SilverlightVersion1 smallint,
SilverlightVersion2 smallint, SilverlightVersion3 integer, SilverlightVersion4 smallint,
PageCharset text, CodeVersion integer, IsLink smallint, IsDownload smallint,
IsNotBounce smallint, FUniqID bigint, OriginalURL text, HID integer, IsOldCounter smallint,
IsEvent smallint, IsParameter smallint, DontCountHits smallint, WithHash smallint,
HitColor char, LocalEventTime timestamp, Age smallint, Sex smallint, Income smallint,
Interests smallint, Robotness smallint, RemoteIP integer, WindowName integer,
OpenerName integer, HistoryLength smallint, BrowserLanguage text, BrowserCountry text,
SocialNetwork text, SocialAction text, HTTPError smallint, SendTiming integer,
DNSTiming integer, ConnectTiming integer, ResponseStartTiming integer,
ResponseEndTiming integer, FetchTiming integer, SocialSourceNetworkID smallint,
SocialSourcePage text, ParamPrice bigint, ParamOrderID text, ParamCurrency text,
ParamCurrencyID smallint, OpenstatServiceName text, OpenstatCampaignID text,
OpenstatAdID text, OpenstatSourceID text, UTMSource text, UTMMedium text, UTMCampaign text,
UTMContent text, UTMTerm text, FromTag text, HasGCLID smallint, RefererHash bigint,
URLHash bigint, CLID integer
"""

COLUMNS: list[tuple[str, str]] = [
    tuple(column.split()) for column in _COLUMNS.replace("\n", " ").split(",")
]
assert len(COLUMNS) == 105

SORT_KEY = ["CounterID", "EventDate", "UserID", "EventTime", "WatchID"]

_SQL = {
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "text": "TEXT",
    "varchar": "VARCHAR(255)",
    "char": "CHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}

_ARROW = {
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "text": pa.string(),
    "varchar": pa.string(),
    "char": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("ms"),
}


def sql_columns(**types: str) -> str:
    """The column list of CREATE TABLE; `types` replaces the standard spelling of a type."""
    spell = {**_SQL, **types}
    return ",\n".join(f"    {name} {spell[kind]} NOT NULL" for name, kind in COLUMNS)


def arrow_schema() -> pa.Schema:
    return pa.schema([pa.field(name, _ARROW[kind], nullable=False) for name, kind in COLUMNS])
