from replayer.breaker import SUSTAINED_NS, WINDOW, Breaker

SECOND = 1_000_000_000


def test_it_trips_only_after_failures_that_last() -> None:
    breaker = Breaker()

    tripped = [breaker.add(at * SECOND // 100, failed=True) for at in range(1000)]

    first = tripped.index(True)
    assert first * SECOND // 100 == (WINDOW - 1) * SECOND // 100 + SUSTAINED_NS
    assert all(tripped[first:])


def test_a_tenth_that_answers_is_not_enough_to_hold_it_but_a_fifth_is() -> None:
    def trips(every: int) -> bool:
        breaker = Breaker()
        return any(breaker.add(at * SECOND // 100, failed=at % every != 0) for at in range(3000))

    assert trips(20)
    assert not trips(5)


def test_an_outage_shorter_than_it_takes_is_survived() -> None:
    breaker = Breaker()
    outcomes = [(at * SECOND // 100, 100 <= at < 500) for at in range(2000)]

    assert not any(breaker.add(at_ns, failed=failed) for at_ns, failed in outcomes)


def test_few_failures_in_a_short_run_never_trip_it() -> None:
    breaker = Breaker()

    assert not any(breaker.add(at * 60 * SECOND, failed=True) for at in range(WINDOW - 1))
