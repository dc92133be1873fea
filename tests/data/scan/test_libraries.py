import logging
import warnings

from fairpool.data.scan.libraries import quiet_libraries


def test_readers_and_their_parts_write_no_log_and_no_warning_within(caplog, recwarn):
    caplog.set_level(logging.DEBUG)
    with quiet_libraries():
        for name in ("pydicom", "pydicom.pixels.decoders.base", "nibabel.global", "PIL.PngImagePlugin"):
            logging.getLogger(name).critical("CANARY")
        warnings.warn("CANARY", stacklevel=1)
    assert not caplog.records
    assert not recwarn.list


def test_what_was_said_before_is_said_again_behind_even_after_an_error(caplog):
    caplog.set_level(logging.DEBUG)
    try:
        with quiet_libraries():
            raise ValueError
    except ValueError:
        logging.getLogger("pydicom").warning("heard")
    assert [record.getMessage() for record in caplog.records] == ["heard"]
