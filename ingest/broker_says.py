"""What the broker says of itself under $SYS: how many messages it has dropped, and how long it has been running.

Mosquitto publishes these every ``sys_interval``, 10 seconds by default. A broker without them, or one whose access list
keeps them from us, grants the subscription and stays silent: what it dropped is then unknown, and everything else goes
on. rumqttd ends the connection when it is asked; it is asked twice at most.
"""

from __future__ import annotations

from dataclasses import dataclass

DROPPED = "$SYS/broker/publish/messages/dropped"
UPTIME = "$SYS/broker/uptime"
FILTERS = (DROPPED, UPTIME)
ROOT = "$SYS/"
ASK_MAX = 2  # connections in a row that ended at the question; then it is not asked again


@dataclass(slots=True)
class BrokerSays:
    """The newest numbers of the present connection.

    Attributes:
        dropped: messages that the broker has dropped since it started, of all its clients; None while unknown.
        uptime_s: seconds since the broker started; None while unknown.
        asking: the question is under way.
        upset: connections in a row that ended while it was.
    """

    dropped: int | None = None
    uptime_s: int | None = None
    asking: bool = False
    upset: int = 0

    def ask(self) -> bool:
        """Forget the last connection's numbers; say whether this broker is to be asked."""
        self.dropped = self.uptime_s = None
        self.asking = self.upset < ASK_MAX
        return self.asking

    def answered(self) -> None:
        """Note that the question was taken, granted or not."""
        self.asking = False
        self.upset = 0

    def ended(self) -> None:
        """Note that the connection is over."""
        self.upset += self.asking
        self.asking = False

    def heard(self, topic: str, payload: bytes) -> None:
        """Take in one report; what is not a number is passed over."""
        try:
            number = int(payload.split()[0])
        except (ValueError, IndexError):
            return
        if topic == DROPPED:
            self.dropped = number
        elif topic == UPTIME:
            self.uptime_s = number
