"""The sky over the city: when the lamps should burn, how high the sun stands, what the clocks on the wall say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
from astral import Observer
from astral import sun as astral_sun

from devices.registry import Registry

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DAY_MS = 86_400_000
MINUTE_MS = 60_000
QUARTER_MS = 15 * MINUTE_MS  # every civil clock changes on a quarter of an hour of UTC
EPOCH = date(1970, 1, 1)
_REMEMBERED = 4096  # days, quarters and blocks of minutes kept at hand
_KNOTS = 64  # minutes a block for which the sun's altitude is worked out at once


@dataclass(frozen=True, slots=True)
class Override:
    """Fixed hours for one cabinet and its lamps, in minutes of the local day; until may lie below from for nights."""

    cabinet: str
    from_min: int
    until_min: int


@dataclass(frozen=True, slots=True)
class LightingSchedule:
    """When the city's lamps are meant to burn.

    Attributes:
        on_after_sunset_min: minutes from sunset to switch-on; negative for earlier.
        off_before_sunrise_min: minutes from switch-off to sunrise; negative for later.
        overrides: cabinets that keep fixed hours instead.

    The default of 15 minutes lies inside the 20 minutes that photocells are usually set to (docs/sources.md); it is
    configuration, to be set to what the city has decided.
    """

    on_after_sunset_min: float = 15
    off_before_sunrise_min: float = 15
    overrides: tuple[Override, ...] = ()


class Sky:
    """Sun, lighting hours and local time for one city; every answer is an array shaped as the question.

    Args:
        registry: whose centre the sun is computed for and whose rows are asked about.
        timezone: IANA name, such as ``Asia/Shanghai``.
        schedule: lighting hours.

    Attributes:
        strangers: cabinets of the schedule's overrides that the registry does not know.
    """

    def __init__(self, registry: Registry, timezone: str, schedule: LightingSchedule = LightingSchedule()) -> None:
        self.timezone = timezone
        self.schedule = schedule
        self.tz = ZoneInfo(timezone)
        self.lon, self.lat = registry.projection.lon0, registry.projection.lat0
        self._observer = Observer(latitude=self.lat, longitude=self.lon)
        self._programme = _programmes(registry, schedule)
        fed = set(registry.columns.coded["cabinet"].names)
        strangers = (o.cabinet for o in schedule.overrides if o.cabinet not in fed and o.cabinet not in registry.row)
        self.strangers = tuple(strangers)
        self._sun: dict[int, tuple[int, int]] = {}
        self._offset: dict[int, int] = {}
        self._suns: dict[int, Floats] = {}
        self._nights: tuple[bytes, list[tuple[Ints, Ints]]] = (b"", [])

    def expected_on(self, rows: npt.ArrayLike, time_ms: npt.ArrayLike) -> Mask:
        """Return whether the lamps and cabinets of ``rows`` (registry rows) are meant to burn at ``time_ms``."""
        began, ended, time = self.nights(rows, time_ms)
        answer: Mask = time < ended
        return answer & (time >= began)

    def switched_on_for_ms(self, rows: npt.ArrayLike, time_ms: npt.ArrayLike) -> Ints:
        """Return milliseconds since the last switch-on, -1 while they are meant to be dark."""
        began, ended, time = self.nights(rows, time_ms)
        answer: Ints = np.where((time < ended) & (time >= began), time - began, -1)
        return answer

    def switched_off_for_ms(self, rows: npt.ArrayLike, time_ms: npt.ArrayLike) -> Ints:
        """Return milliseconds since the last switch-off, -1 while they are meant to burn."""
        began, ended, time = self.nights(rows, time_ms)
        answer: Ints = np.where((time < ended) & (time >= began), -1, time - ended)
        return answer

    def sun_altitude_deg(self, time_ms: npt.ArrayLike) -> Floats:
        """Return the sun's geometric altitude over the city's centre, degrees, no refraction.

        Worked out at whole minutes, straight in between, which is right to a ten-thousandth of a degree.
        """
        time = np.asarray(time_ms, dtype=np.int64)
        if not time.size:
            return time.astype(np.float64)
        minute = time // MINUTE_MS
        first, last = int(minute.min()) // _KNOTS, int(minute.max()) // _KNOTS
        if last - first > _KNOTS:
            return self._altitude_between(time)
        knots = self._knots(first)
        if last > first:
            knots = np.concatenate([self._knots(block)[: _KNOTS + (block == last)] for block in range(first, last + 1)])
        place = minute - first * _KNOTS
        return _between(knots[place], knots[place + 1], time)

    def _knots(self, block: int) -> Floats:
        """Return the altitudes at the whole minutes of a block of them, and at the one after, remembered."""
        found = self._suns.get(block)
        if found is None:
            if len(self._suns) > _REMEMBERED:
                self._suns.clear()
            minutes = np.arange(block * _KNOTS, (block + 1) * _KNOTS + 1, dtype=np.int64)
            found = self._suns[block] = self._altitude(minutes * MINUTE_MS)
        return found

    def _altitude_between(self, time: Ints) -> Floats:
        start = time // MINUTE_MS * MINUTE_MS
        return _between(self._altitude(start), self._altitude(start + MINUTE_MS), time)

    def _altitude(self, time_ms: Ints) -> Floats:
        """Low-precision solar position of the Astronomical Almanac, within 0.02 degrees from 1950 to 2050."""
        days = np.asarray(time_ms, dtype=np.float64) / DAY_MS - 10957.5  # since 2000-01-01T12:00Z
        anomaly = np.radians(357.528 + 0.9856003 * days)
        mean = 280.460 + 0.9856474 * days
        longitude = np.radians(mean + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
        obliquity = np.radians(23.439 - 4e-7 * days)
        declination = np.arcsin(np.sin(obliquity) * np.sin(longitude))
        ascension = np.arctan2(np.cos(obliquity) * np.sin(longitude), np.cos(longitude))
        sidereal = np.radians(280.46061837 + 360.98564736629 * days + self.lon)
        latitude = np.radians(self.lat)
        height = np.sin(latitude) * np.sin(declination)
        height = height + np.cos(latitude) * np.cos(declination) * np.cos(sidereal - ascension)
        answer: Floats = np.degrees(np.arcsin(np.clip(height, -1.0, 1.0)))
        return answer

    def local_minute(self, time_ms: npt.ArrayLike) -> Ints:
        """Return the minute of the local day, 0 to 1439."""
        return self._local(time_ms) % DAY_MS // MINUTE_MS

    def local_day(self, time_ms: npt.ArrayLike) -> Ints:
        """Return the local calendar day, as days since 1970-01-01."""
        return self._local(time_ms) // DAY_MS

    def local_clock(self, time_ms: npt.ArrayLike) -> tuple[Ints, Ints]:
        """Return the local calendar day, as days since 1970-01-01, and the minute of it."""
        day, rest = np.divmod(self._local(time_ms), DAY_MS)
        return day, rest // MINUTE_MS

    def local_time(self, time_ms: int) -> datetime:
        """Return one moment as local time."""
        return datetime.fromtimestamp(time_ms / 1000, self.tz)

    def _local(self, time_ms: npt.ArrayLike) -> Ints:
        time = np.asarray(time_ms, dtype=np.int64)
        if not time.size:
            return time
        quarter = time // QUARTER_MS
        first, last = int(quarter.min()), int(quarter.max())
        if first == last:
            return time + self._offset_of(first)
        found, back = np.unique(quarter, return_inverse=True)
        offsets = np.array([self._offset_of(int(q)) for q in found], dtype=np.int64)
        answer: Ints = time + offsets[back].reshape(time.shape)
        return answer

    def _offset_of(self, quarter: int) -> int:
        if quarter not in self._offset:
            if len(self._offset) > _REMEMBERED:
                self._offset.clear()
            shift = datetime.fromtimestamp(quarter * QUARTER_MS / 1000, self.tz).utcoffset() or timedelta()
            self._offset[quarter] = int(shift.total_seconds() * 1000)
        return self._offset[quarter]

    def nights(self, rows: npt.ArrayLike, time_ms: npt.ArrayLike) -> tuple[Ints, Ints, Ints]:
        """Return switch-on and switch-off of the latest night that had begun, and the time, of one shape.

        Where it is the same night for all, switch-on and switch-off are of no length.
        """
        time, row = np.asarray(time_ms, dtype=np.int64), np.asarray(rows)
        if time.shape != row.shape:
            time, row = np.broadcast_arrays(time, row)
        if not time.size:
            return time, time, time
        first, last = int(time.min()), int(time.max())
        tables = self._tables(time, first, last)
        if len(tables) == 1 and _place(tables[0], first) == _place(tables[0], last):
            at = _place(tables[0], first)
            return tables[0][0][at], tables[0][1][at], time
        began, ended = _pick(tables[0], time)
        if len(tables) > 1:
            programme = self._programme[row]
            for number in np.unique(programme):
                if number:
                    here = programme == number
                    began[here], ended[here] = _pick(tables[number], time[here])
        return began, ended, time

    def _tables(self, time: Ints, first_ms: int, last_ms: int) -> list[tuple[Ints, Ints]]:
        """Return for each programme the (switch-on, switch-off) of every night that could cover ``time``."""
        first, last = first_ms // DAY_MS, last_ms // DAY_MS
        days = np.array([first]) if first == last else np.unique(time // DAY_MS)
        key = days.tobytes()
        if self._nights[0] != key:
            wanted = sorted({int(day) + shift for day in days for shift in (-2, -1, 0, 1)})
            tables = [_columns([self._sun_night(day) for day in wanted])]
            fixed = self.schedule.overrides
            tables += [_columns([self._fixed_night(day, override) for day in wanted]) for override in fixed]
            self._nights = (key, tables)
        return self._nights[1]

    def _sun_night(self, day: int) -> tuple[int, int]:
        if day not in self._sun:
            if len(self._sun) > _REMEMBERED:
                self._sun.clear()
            sunset, sunrise = self._darkness(EPOCH + timedelta(days=day))
            on = sunset + int(self.schedule.on_after_sunset_min * MINUTE_MS)
            self._sun[day] = (on, sunrise - int(self.schedule.off_before_sunrise_min * MINUTE_MS))
        return self._sun[day]

    def _darkness(self, day: date) -> tuple[int, int]:
        """Return the first sunset after the solar noon of ``day`` and the sunrise after it, epoch milliseconds.

        Where the sun does not set the night has no length; where it does not rise the night lasts to the next noon.
        """
        noon = _ms(astral_sun.noon(self._observer, day))
        nights = [day + timedelta(days=shift) for shift in (-1, 0, 1, 2)]
        sunset = _first_after(noon, [_event(astral_sun.sunset, self._observer, night) for night in nights])
        if sunset is not None and sunset < noon + DAY_MS:
            sunrise = _first_after(sunset, [_event(astral_sun.sunrise, self._observer, night) for night in nights])
            return sunset, sunrise if sunrise is not None and sunrise < sunset + DAY_MS else noon + DAY_MS
        if float(self.sun_altitude_deg(noon)) < 0.0:  # a night without end: no gap from one noon to the next
            on_after, off_before = self.schedule.on_after_sunset_min, self.schedule.off_before_sunrise_min
            return noon - int(on_after * MINUTE_MS), noon + DAY_MS + int((off_before + 2) * MINUTE_MS)
        return noon + DAY_MS // 2, noon + DAY_MS // 2

    def _fixed_night(self, day: int, override: Override) -> tuple[int, int]:
        on = self._civil(day, override.from_min)
        off = self._civil(day + (override.until_min <= override.from_min), override.until_min)
        return on, off

    def _civil(self, day: int, minute: int) -> int:
        """Return the first moment at which the clock on the wall shows a time of a local day, or has skipped it.

        So every time of every day comes once and in order: one that the clocks skip comes when they are put forward,
        one that they show twice comes the first time.
        """
        wall = datetime.combine(EPOCH + timedelta(days=day), datetime.min.time(), self.tz) + timedelta(minutes=minute)
        shown, skipped_to = _ms(wall.astimezone(UTC)), _ms(wall.replace(fold=1).astimezone(UTC))
        if skipped_to >= shown:
            return shown
        quarters = range(skipped_to // QUARTER_MS, shown // QUARTER_MS + 1)  # of the hour about the gap
        before = self._offset_of(quarters[0])
        return next((q * QUARTER_MS for q in quarters if self._offset_of(q) != before), shown)


def _programmes(registry: Registry, schedule: LightingSchedule) -> npt.NDArray[np.int32]:
    """Return for each row which table of nights it follows: 0 the sun, k the k-th override."""
    numbers = {override.cabinet: k + 1 for k, override in enumerate(schedule.overrides)}
    cabinets = registry.columns.coded["cabinet"]
    table = np.array([*(numbers.get(name, 0) for name in cabinets.names), 0], dtype=np.int32)  # the last for code -1
    found: npt.NDArray[np.int32] = table[cabinets.code]
    for name, number in numbers.items():
        row = registry.row.get(name)
        if row is not None and not found[row]:
            found[row] = number
    return found


def _between(low: Floats, high: Floats, time: Ints) -> Floats:
    answer: Floats = low + (high - low) * (time % MINUTE_MS / MINUTE_MS)
    return answer


def _place(table: tuple[Ints, Ints], time_ms: int) -> int:
    return max(int(np.searchsorted(table[0], time_ms, side="right")) - 1, 0)


def _pick(table: tuple[Ints, Ints], time: Ints) -> tuple[Ints, Ints]:
    at = np.maximum(np.searchsorted(table[0], time, side="right") - 1, 0)
    return table[0][at], table[1][at]


def _columns(nights: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    on, off = zip(*sorted(nights), strict=True)
    return np.array(on, dtype=np.int64), np.array(off, dtype=np.int64)


def _event(which: object, observer: Observer, day: date) -> int | None:
    try:
        return _ms(which(observer, day))  # type: ignore[operator]
    except ValueError:  # the sun does not cross the horizon on that day
        return None


def _first_after(time_ms: int, candidates: list[int | None]) -> int | None:
    later = [candidate for candidate in candidates if candidate is not None and candidate > time_ms]
    return min(later) if later else None


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
