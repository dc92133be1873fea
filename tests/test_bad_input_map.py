"""Which test holds what fairpool promises of each kind of bad input, by the row of the list of bad input.

The tests lie beside the modules that meet the input; this is where to look them up. A row that loses its test fails.
"""

import ast
from pathlib import Path

import pytest

TESTS = {
    # the site
    1: [
        "data/test_checks.py::missing_site_is_refused_by_row",
        "transforms/test_encode.py::missing_key_is_refused_unless_allowed",
    ],
    2: [
        "losses/test_group_ids.py::what_is_no_id_is_a_type_error_in_one_sentence",
        "data/test_checks.py::missing_site_is_refused_by_row",
    ],
    3: [
        "data/test_manifest.py::missing_cells_of_a_parquet_table_are_refused_like_empty_ones",
        "data/test_manifest.py::empty_site_is_refused_by_row",
    ],
    4: [
        "data/test_checks.py::names_that_look_alike_are_refused_with_their_counts",
        "data/test_manifest.py::misspelt_sites_are_joined_on_request_and_counted",
    ],
    5: [
        "data/test_vocabulary.py::unknown_site_is_refused_with_its_row_the_vocabulary_and_the_nearest_name",
        "data/test_pool.py::unseen_sites_may_be_one_unknown_group_that_enters_no_rate",
    ],
    6: [
        "losses/test_first_batch.py::group_ids_out_of_range_are_refused_with_value_count_and_remedy",
        "metrics/test_confusion.py::group_ids_out_of_range_are_refused_with_value_and_count",
    ],
    7: [
        "handlers/test_dual.py::float_and_bool_ids_are_a_type_error",
        "metrics/test_confusion.py::group_ids_that_are_no_integers_are_a_type_error",
    ],
    8: [
        "data/test_checks.py::single_site_is_refused_with_its_name_and_count",
        "losses/test_binding.py::fewer_than_two_groups_are_refused",
    ],
    9: ["losses/test_fairalm.py::a_single_present_group_contributes_nothing_and_its_multiplier_does_not_move"],
    10: [
        "metrics/test_report.py::rates_are_nan_exactly_where_there_is_no_such_sample",
        "data/test_pool.py::notes_name_the_sites_that_lack_a_label",
    ],
    11: [
        "data/test_checks.py::perfect_confounding_is_refused_naming_each_site",
        "audit/test_advice.py::perfect_confounding_is_a_stop",
    ],
    12: [
        "data/test_checks.py::identifier_column_is_not_believed_to_be_the_site",
        "data/test_pool.py::more_sites_than_1000_need_max_groups",
    ],
    13: ["handlers/test_dual.py::a_site_that_only_the_images_meta_holds_is_refused"],
    14: [
        "data/test_vocabulary.py::slugs_of_awkward_names",
        "data/test_vocabulary.py::slugs_are_unique_and_may_stand_in_a_metric_and_a_file_name",
    ],
    # labels and predictions
    15: [
        "data/test_manifest.py::label_other_than_0_and_1_is_refused_with_value_and_row",
        "data/test_manifest.py::rows_of_an_ignored_label_are_left_out_and_counted_by_site",
    ],
    16: [
        "losses/test_first_batch.py::one_hot_labels_are_refused_with_shapes_and_remedy",
        "losses/test_first_batch.py::soft_labels_are_refused",
    ],
    17: [
        "handlers/test_dual.py::a_nan_loss_ends_the_run_with_its_epoch_naming_epoch_and_iteration",
        "metrics/test_group_metric.py::logits_that_are_not_finite_are_refused_with_their_number",
    ],
    18: [
        "metrics/test_group_metric.py::probabilities_in_place_of_logits_are_refused",
        "losses/test_first_batch.py::probabilities_in_the_place_of_logits_are_warned_about",
    ],
    19: [
        "losses/test_first_batch.py::unlike_lengths_are_refused_with_all_three_shapes",
        "metrics/test_confusion.py::unlike_shapes_are_refused_with_all_three",
    ],
    20: ["losses/test_binding.py::an_unbound_call_names_the_two_lines_to_add"],
    # images
    21: ["data/test_radiograph.py::truncated_image_ends_early", "data/test_radiograph.py::truncated_dicom_is_refused"],
    22: ["data/test_radiograph.py::empty_file_and_web_page_are_told_as_refused_downloads"],
    23: ["data/test_radiograph.py::bomb_is_refused_before_decoding"],
    24: [
        "data/test_radiograph.py::16_bit_ramp_keeps_its_depth",
        "data/test_radiograph.py::16_bit_png_is_not_scaled_by_its_own_extremes",
    ],
    25: [
        "data/test_radiograph.py::strict_refuses_all_but_one_channel_of_grey",
        "data/test_pool.py::conversions_are_counted_by_site",
    ],
    26: ["data/test_radiograph.py::exif_orientation_is_undone_and_noted"],
    27: ["data/test_radiograph.py::monochrome1_is_monochrome2_inverted_after_rescale"],
    28: [
        "data/test_radiograph.py::absent_rescale_means_slope_1_and_intercept_0",
        "data/test_radiograph.py::zero_rescale_slope_is_refused",
    ],
    29: ["data/test_radiograph.py::nan_and_infinite_pixels_are_refused_with_their_count"],
    30: ["data/test_pool.py::constant_images_are_listed_by_site_and_are_no_copies_of_each_other"],
    31: [
        "data/test_headers.py::deeply_nested_sequence_is_refused_where_it_is_passed",
        "data/test_radiograph.py::deeply_nested_sequence_is_refused",
    ],
    32: ["saliency/test_outside.py::a_network_that_reads_the_marker_is_flagged_and_one_that_reads_the_body_is_not"],
    # tables, splits, reports
    33: [
        "data/test_manifest.py::path_that_leaves_the_root_or_names_no_file_is_refused",
        "data/test_manifest.py::links_that_leave_the_root_are_refused_and_those_that_stay_are_followed",
    ],
    34: [
        "data/test_splits.py::patients_in_two_sections_are_counted_by_pair_and_not_named",
        "data/test_pool.py::patients_in_both_tables_are_refused_by_number_and_not_by_name",
    ],
    35: [
        "data/test_pool.py::equal_pixels_in_two_sections_are_refused_by_row",
        "data/test_pool.py::equal_pixels_at_two_sites_are_reported_with_rows_and_sites",
    ],
    36: [
        "data/test_tables.py::a_spreadsheet_runs_no_cell_and_numbers_stay_numbers",
        "test_uncertainty.py::a_name_that_a_spreadsheet_would_run_is_quoted",
    ],
    37: [
        "data/test_manifest.py::byte_order_mark_blank_lines_and_windows_line_ends_are_accepted",
        "data/test_manifest.py::malformed_table_is_refused",
        "data/test_manifest.py::ragged_lines_are_named_together_with_the_header",
    ],
    # files from strangers
    38: ["test_checkpoints.py::pickled_object_is_refused_without_being_unpickled"],
    39: ["test_checkpoints.py::a_checkpoint_of_other_sites_is_refused_with_the_difference_first"],
    40: [
        "data/test_archive.py::one_bad_name_keeps_the_whole_zip_out",
        "data/test_archive.py::huge_expansion_is_refused_by_ratio_size_and_count",
        "data/test_download.py::wrong_digest_names_both_and_leaves_no_file",
    ],
    41: [
        "data/test_image_cache.py::objects_in_an_entry_are_never_unpickled",
        "data/test_image_cache.py::folder_and_entries_are_private_and_hold_no_path",
    ],
    42: [
        "test_bundle.py::a_bundle_from_outside_is_not_parsed_unless_trusted",
        "test_bundle.py::a_value_that_runs_as_code_is_refused_unless_trusted",
    ],
}


def test_every_row_has_a_test():
    assert sorted(TESTS) == list(range(1, 43))


@pytest.mark.parametrize("row", TESTS)
def test_the_tests_of_a_row_are_there(row):
    for place in TESTS[row]:
        file, _, name = place.partition("::")
        source = (Path(__file__).parent / file).read_text(encoding="utf-8")
        functions = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
        assert f"test_{name}" in functions, place
