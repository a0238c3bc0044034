"""The long strings of `hits`: URLs, titles, referrers, search phrases.

A page is a number. Its URL, title and hash follow from the number, so that equal pages have equal
strings; which pages a site shows follows from the site's rank.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import words
from .skew import Zipf, mix, signed, unit

RANK_OF_62 = 17
# Hashes that queries 41 and 42 look for, given to pages of counter 62.
REFERER_HASH_OF_QUERY_41 = 3594120000172545465
URL_HASH_OF_QUERY_42 = 2868770270353813622


class Pages:
    def __init__(self, rows: int, seed: int):
        self.rows = rows
        self.phrase = Zipf(max(100, rows // 12), 0.85, shift=8.0)
        self.domains = words.english(8000, seed)
        self.slugs = words.english(4000, seed + 1)
        self.vocabulary = words.russian(20000, seed + 2)
        self.word = Zipf(len(self.vocabulary), 0.9, shift=5.0)

    def columns(self, rng, count: int, rank: np.ndarray, share: np.ndarray, engine) -> dict:
        """The text columns of rows of the sites `rank`, each with its share of all rows."""
        shown = np.maximum(2, share * self.rows / 3)
        page = self._page(rank, shown, rng.random(count))
        previous = self._page(rank, shown, rng.random(count))
        kind = rng.random(count)
        searched = engine != 0
        phrase = self.phrase.draw(rng.random(count))
        text = self._sentence(phrase, 60, 1, 5)

        url = self._url(page, rank)
        blank = pa.array(kind < 0.19)
        referer = pc.if_else(blank, "", self._url(previous, rank))
        referer = pc.if_else(pa.array(searched), self._search_url(text), referer)
        title = pc.if_else(pa.array(unit(mix(page, 72)) < 0.14), "", self._title(page))

        of_62 = rank == RANK_OF_62
        few = of_62 & (page % 23 == 0)
        return {
            "URL": url,
            "Title": title,
            "Referer": referer,
            "SearchPhrase": pc.if_else(pa.array(searched), text, ""),
            "OriginalURL": pc.if_else(pa.array(rng.random(count) < 0.06), url, ""),
            "URLHash": np.where(few, URL_HASH_OF_QUERY_42, signed(mix(page, 73))),
            "RefererHash": np.where(
                of_62 & (rng.random(count) < 0.05),
                REFERER_HASH_OF_QUERY_41,
                signed(mix(np.where(kind < 0.19, 0, previous), 74)),
            ),
        }

    @staticmethod
    def _page(rank: np.ndarray, shown: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """A page of a site that shows so many; few of them get most of the visits."""
        return rank * 2**32 + (shown * uniform**3).astype(np.int64)

    def _word(self, ids: np.ndarray, salt: int) -> pa.Array:
        return pc.take(self.vocabulary, pa.array(self.word.draw(unit(mix(ids, salt)))))

    def _sentence(self, ids: np.ndarray, salt: int, low: int, high: int) -> pa.Array:
        """Between low and high words, both included, that follow from the id."""
        length = low + (unit(mix(ids, salt)) * (high - low + 1)).astype(int)
        parts = [self._word(ids, salt + 100)]
        for position in range(1, high):
            shown = pa.array(length > position)
            parts.append(pc.if_else(shown, self._word(ids, salt + 100 + position), None))
        return pc.binary_join_element_wise(*parts, " ", null_handling="skip")

    def _title(self, page: np.ndarray) -> pa.Array:
        sentence = self._sentence(page, 300, 3, 9)
        tail = unit(mix(page, 310))
        name = np.where(tail < 0.0006, " — Google", np.where(tail < 0.3, " — Яндекс", ""))
        return pc.binary_join_element_wise(sentence, pa.array(name.astype(object)), "")

    def _url(self, page: np.ndarray, site: np.ndarray) -> pa.Array:
        scheme = np.where(unit(mix(page, 80)) < 0.02, "https://", "http://").astype(object)
        domain = pc.take(self.domains, pa.array((mix(site, 81) % np.uint64(8000)).astype(np.int64)))
        zone = np.array([".ru/", ".com/", ".com.tr/", ".ua/", ".kz/"], dtype=object)
        zones = zone[(unit(mix(site, 82)) ** 2 * 5).astype(int)]
        first = pc.take(self.slugs, pa.array((unit(mix(page, 83)) ** 2 * 400).astype(np.int64)))
        second = pc.take(self.slugs, pa.array((mix(page, 84) % np.uint64(4000)).astype(np.int64)))
        number = pa.array((mix(page, 85) % np.uint64(10**8)).astype(np.int64)).cast(pa.string())
        tail = unit(mix(page, 86))
        query = np.where(
            tail < 0.0004, "&ref=google", np.where(tail < 0.3, "&page=2#top", "")
        ).astype(object)
        return pc.binary_join_element_wise(
            pa.array(scheme),
            domain,
            pa.array(zones),
            first,
            pa.array(np.full(len(page), "/", object)),
            second,
            pa.array(np.full(len(page), "?id=", object)),
            number,
            pa.array(query),
            "",
        )

    def _search_url(self, text: pa.Array) -> pa.Array:
        encoded = pc.replace_substring(text, " ", "+")
        return pc.binary_join_element_wise("http://yandex.ru/yandsearch?text=", encoded, "")
