"""What Agent.status() tells: in memory only while somebody asks."""

from .last import read


def status(agent):
    """See muster.agent.Agent.status()."""
    schedule, credentials = agent._schedule, agent._credentials
    how = read()
    how.update(
        {
            "enrolled": credentials is not None,
            "device_no": agent._device_no,
            "device_id": credentials["deviceId"] if credentials else None,
            "reports": schedule.reports,
            "last_report": schedule.last,
            "next_due": schedule.next,
            "failures": agent._failures,
            "last_error": agent._last_error,
            "clock_trusted": agent._clock.trusted(),
            "version": agent._config["firmwareVersion"],
        }
    )
    how.update(agent._ask("status") or {})
    return how
