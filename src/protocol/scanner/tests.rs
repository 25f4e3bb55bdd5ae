use super::*;

#[test]
fn members_are_found_where_they_lie() {
    let json = "{ \"a\" : [1, {\"b\": 2}] ,\"\\u0062\":-1.5e+3 , \"c\":{\"a\":0},\"a\": null}\n";
    assert_eq!(
        members(json, ["a", "b", "c", "d"]),
        Ok([Some("null"), Some("-1.5e+3"), Some("{\"a\":0}"), None])
    );
    assert_eq!(members("{}", ["a"]), Ok([None]));
    assert_eq!(members("[{\"a\":1}]", ["a"]), Err(Invalid::NotObject));
    assert_eq!(members("{\"a\":1", ["a"]), Err(Invalid::NotJson));
    assert_eq!(members("{} {}", ["a"]), Err(Invalid::NotJson));
    // A key that no Rust string holds.
    assert_eq!(members(r#"{"\ud800":1}"#, [""]), Ok([None]));
}

#[test]
fn any_depth_is_left_in_the_order_that_it_was_entered() {
    for depth in [1, 63, 64, 65, 127, 128, 129, 1_000_000] {
        let mut json = r#"[{"a":"#.repeat(depth) + "0";
        json += &"}]".repeat(depth);
        assert_eq!(members(&json, [""]), Err(Invalid::NotObject), "{depth}");
        json.pop();
        assert_eq!(members(&json, [""]), Err(Invalid::NotJson), "{depth}");
        json.push('}');
        assert_eq!(members(&json, [""]), Err(Invalid::NotJson), "{depth}");
    }
}

/// `serde_json` is the second parser.
#[test]
fn one_byte_makes_the_difference_that_it_makes_to_a_second_parser() {
    let whole =
        "{\"a\" : [-1.5e+3,12345678 , {}] ,\"b\":{\"a\":\"\\u0061\\n\" ,\"c\":null,\"d\":[]}}";
    let alike = |text: &str| {
        // Where eight bytes follow, others are looked at together.
        for text in [
            text.to_owned(),
            format!("{text}         "),
            format!("[{text}]"),
        ] {
            let is_json_too = serde_json::from_str::<serde_core::de::IgnoredAny>(&text).is_ok();
            assert_eq!(is_json(&text), is_json_too, "{text}");
        }
    };
    for at in 0..whole.len() {
        let (before, after) = (&whole[..at], &whole[at + 1..]);
        alike(&[before, after].concat());
        for byte in 0..0x80_u8 {
            let byte = char::from(byte).to_string();
            alike(&[before, &byte, after].concat());
            alike(&[before, &byte, &whole[at..]].concat());
        }
    }
}

#[test]
fn sixteen_mib_are_one_document_with_its_last_byte() {
    for (before, part, after) in [
        ("{\"a\":\"", "0123456789abcdef", "\"}"),
        ("{\"a\":\"", "\\u00e9\\\\\u{e9}\\n", "\"}"),
        ("{\"a\":", "12345678", "}"),
        ("{\"a\":[0", ",\"b\" , {\"c\":null},[]", "]}"),
        ("{", "\"b\":{},", "\"a\":1}"),
        ("{", " \t\r\n", "\"a\":1}"),
    ] {
        let count = (16 << 20) / part.len();
        let mut json = [before, &part.repeat(count), after].concat();
        let [a] = members(&json, ["a"]).unwrap();
        assert!(json.ends_with(&format!("\"a\":{}}}", a.unwrap())), "{part}");
        json.pop();
        assert_eq!(members(&json, ["a"]), Err(Invalid::NotJson), "{part}");
    }
}

#[test]
fn the_end_of_a_string_is_found_anywhere() {
    for length in 0..40 {
        for byte in 0..=u8::MAX {
            let mut bytes = vec![b'x'; length];
            bytes.push(byte);
            bytes.extend(b"y\"");
            let is_special = byte < b' ' || byte == b'"' || byte == b'\\';
            let wanted = if is_special { length } else { length + 2 };
            assert_eq!(plain(&bytes, 0), wanted, "{length} {byte}");
        }
    }
}

#[test]
fn a_number_ends_with_its_digits_anywhere() {
    for length in 0..20 {
        for byte in 0..0x80_u8 {
            let text = format!("[1{}{}2345678]", "0".repeat(length), char::from(byte));
            let is_part = byte.is_ascii_digit() || b".eE,".contains(&byte);
            assert_eq!(is_json(&text), is_part, "{text}");
        }
    }
}

/// Returns whether a text is a JSON document.
fn is_json(text: &str) -> bool {
    members(text, [""]) != Err(Invalid::NotJson)
}

/// by the names of the cases of `JSONTestSuite`. Those whose bytes are not UTF-8 do not get as far as
/// here: a WebSocket's text is checked before (RFC 6455 §8.1), and a byte order mark is taken off.
#[test]
#[allow(clippy::too_many_lines, reason = "it is a table")]
fn the_json_suite_is_accepted_and_refused() {
    let deep = "[".repeat(100_000);
    let deep_objects = r#"{"":"#.repeat(50_000);
    let deep_pairs = "[{\"\":".repeat(50_000);
    for (name, text) in [
        ("array_arraysWithSpaces", "[[]   ]"),
        ("array_empty-string", r#"[""]"#),
        ("array_empty", "[]"),
        ("array_ending_with_newline", "[\"a\"]\n"),
        ("array_false", "[false]"),
        ("array_heterogeneous", r#"[null, 1, "1", {}]"#),
        ("array_null", "[null]"),
        ("array_with_1_and_newline", "[1\n]"),
        ("array_with_leading_space", " [1]"),
        ("array_with_several_null", "[1,null,null,null,2]"),
        ("array_with_trailing_space", "[2] "),
        ("number", "[123e65]"),
        ("number_0e+1", "[0e+1]"),
        ("number_0e1", "[0e1]"),
        ("number_after_space", "[ 4]"),
        (
            "number_double_close_to_zero",
            "[-0.000000000000000000000000000000000000000000000001]",
        ),
        ("number_int_with_exp", "[20e1]"),
        ("number_minus_zero", "[-0]"),
        ("number_negative_int", "[-123]"),
        ("number_negative_one", "[-1]"),
        ("number_negative_zero", "[-0]"),
        ("number_real_capital_e", "[1E22]"),
        ("number_real_capital_e_neg_exp", "[1E-2]"),
        ("number_real_capital_e_pos_exp", "[1E+2]"),
        ("number_real_exponent", "[123e45]"),
        ("number_real_fraction_exponent", "[123.456e78]"),
        ("number_real_neg_exp", "[1e-2]"),
        ("number_real_pos_exponent", "[1e+2]"),
        ("number_simple_int", "[123]"),
        ("number_simple_real", "[123.456789]"),
        ("object", r#"{"a":"b", "c":"d"}"#),
        ("object_basic", r#"{"a":"b"}"#),
        ("object_duplicated_key", r#"{"a":"b","a":"c"}"#),
        ("object_duplicated_key_and_value", r#"{"a":"b","a":"b"}"#),
        ("object_empty", "{}"),
        ("object_empty_key", r#"{"":0}"#),
        ("object_escaped_null_in_key", r#"{"a\u0000b":0}"#),
        (
            "object_extreme_numbers",
            r#"{ "min": -1.0e+28, "max": 1.0e+28 }"#,
        ),
        (
            "object_long_strings",
            r#"{"x":[{"id":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}],"id":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#,
        ),
        ("object_simple", r#"{"a":[]}"#),
        ("object_string_unicode", r#"{"t":"\u041f\u043e\u043b"}"#),
        ("object_with_newlines", "{\n\"a\": \"b\"\n}"),
        (
            "string_1_2_3_bytes_UTF-8_sequences",
            r#"["\u0060\u012a\u12AB"]"#,
        ),
        ("string_accepted_surrogate_pair", r#"["\uD801\udc37"]"#),
        (
            "string_accepted_surrogate_pairs",
            r#"["\ud83d\ude39\ud83d\udc8d"]"#,
        ),
        ("string_allowed_escapes", r#"["\"\\\/\b\f\n\r\t"]"#),
        ("string_backslash_and_u_escaped_zero", r#"["\\u0000"]"#),
        ("string_backslash_doublequotes", r#"["\""]"#),
        ("string_comments", r#"["a/*b*/c/*d//e"]"#),
        ("string_double_escape_a", r#"["\\a"]"#),
        ("string_double_escape_n", r#"["\\n"]"#),
        ("string_escaped_control_character", r#"["\u0012"]"#),
        ("string_escaped_noncharacter", r#"["\uFFFF"]"#),
        ("string_in_array", r#"["a"]"#),
        ("string_in_array_with_leading_space", r#"[ "a"]"#),
        ("string_last_surrogates_1_and_2", r#"["\uDBFF\uDFFF"]"#),
        ("string_nbsp_uescaped", r#"["new\u00A0line"]"#),
        ("string_nonCharacterInUTF-8_U+10FFFF", "[\"\u{10ffff}\"]"),
        ("string_nonCharacterInUTF-8_U+FFFF", "[\"\u{ffff}\"]"),
        ("string_null_escape", r#"["\u0000"]"#),
        ("string_one-byte-utf-8", r#"["\u002c"]"#),
        ("string_pi", "[\"\u{3c0}\"]"),
        ("string_reservedCharacterInUTF-8_U+1BFFF", "[\"\u{1bfff}\"]"),
        ("string_simple_ascii", r#"["asd "]"#),
        ("string_space", r#"" ""#),
        (
            "string_surrogates_U+1D11E_MUSICAL_SYMBOL_G_CLEF",
            r#"["\uD834\uDd1e"]"#,
        ),
        ("string_three-byte-utf-8", r#"["\u0821"]"#),
        ("string_two-byte-utf-8", r#"["\u0123"]"#),
        ("string_u+2028_line_sep", "[\"\u{2028}\"]"),
        ("string_u+2029_par_sep", "[\"\u{2029}\"]"),
        ("string_uEscape", r#"["\u0061\u30af\u30EA\u30b9"]"#),
        ("string_uescaped_newline", r#"["new\u000Aline"]"#),
        ("string_unescaped_char_delete", "[\"\u{7f}\"]"),
        ("string_unicode", r#"["\uA66D"]"#),
        ("string_unicodeEscapedBackslash", r#"["\u005C"]"#),
        ("string_unicode_2", "[\"\u{2342}\u{3234}\u{2342}\"]"),
        ("string_unicode_U+10FFFE_nonchar", r#"["\uDBFF\uDFFE"]"#),
        ("string_unicode_U+1FFFE_nonchar", r#"["\uD83F\uDFFE"]"#),
        ("string_unicode_U+200B_ZERO_WIDTH_SPACE", r#"["\u200B"]"#),
        ("string_unicode_U+2064_invisible_plus", r#"["\u2064"]"#),
        ("string_unicode_U+FDD0_nonchar", r#"["\uFDD0"]"#),
        ("string_unicode_U+FFFE_nonchar", r#"["\uFFFE"]"#),
        ("string_unicode_escaped_double_quote", r#"["\u0022"]"#),
        ("string_utf8", "[\"\u{20ac}\u{1d11e}\"]"),
        ("string_with_del_character", "[\"a\u{7f}a\"]"),
        ("structure_lonely_false", "false"),
        ("structure_lonely_int", "42"),
        ("structure_lonely_negative_real", "-0.1"),
        ("structure_lonely_null", "null"),
        ("structure_lonely_string", r#""asd""#),
        ("structure_lonely_true", "true"),
        ("structure_string_empty", r#""""#),
        ("structure_trailing_newline", "[\"a\"]\n"),
        ("structure_true_in_array", "[true]"),
        ("structure_whitespace_array", " [] "),
        // Either is allowed of these: they are taken.
        ("number_double_huge_neg_exp", "[123.456e-789]"),
        (
            "number_huge_exp",
            "[0.4e00669999999999999999999999999999999999999999999999999999999999999999]",
        ),
        ("number_neg_int_huge_exp", "[-1e+9999]"),
        ("number_pos_double_huge_exp", "[1.5e+9999]"),
        ("number_real_neg_overflow", "[-123123e100000]"),
        ("number_real_pos_overflow", "[123123e100000]"),
        ("number_real_underflow", "[123e-10000000]"),
        (
            "number_too_big_neg_int",
            "[-123123123123123123123123123123]",
        ),
        ("number_too_big_pos_int", "[100000000000000000000]"),
        (
            "number_very_big_negative_int",
            "[-237462374673276894279832749832423479823246327846]",
        ),
        ("object_key_lone_2nd_surrogate", r#"{"\uDFAA":0}"#),
        ("string_1st_surrogate_but_2nd_missing", r#"["\uDADA"]"#),
        (
            "string_1st_valid_surrogate_2nd_invalid",
            r#"["\uD888\u1234"]"#,
        ),
        (
            "string_incomplete_surrogate_and_escape_valid",
            r#"["\uD800\n"]"#,
        ),
        ("string_incomplete_surrogate_pair", r#"["\uDd1ea"]"#),
        (
            "string_incomplete_surrogates_escape_valid",
            r#"["\uD800\uD800\n"]"#,
        ),
        ("string_invalid_lonely_surrogate", r#"["\ud800"]"#),
        ("string_invalid_surrogate", r#"["\ud800abc"]"#),
        ("string_inverted_surrogates_U+1D11E", r#"["\uDd1e\uD834"]"#),
        ("string_lone_second_surrogate", r#"["\uDFAA"]"#),
        (
            "structure_500_nested_arrays",
            &("[".repeat(500) + &"]".repeat(500)),
        ),
    ] {
        assert!(is_json(text), "{name}: {text}");
    }
    for (name, text) in [
        ("array_1_true_without_comma", "[1 true]"),
        ("array_colon_instead_of_comma", r#"["": 1]"#),
        ("array_comma_after_close", r#"[""],"#),
        ("array_comma_and_number", "[,1]"),
        ("array_double_comma", "[1,,2]"),
        ("array_double_extra_comma", r#"["x",,]"#),
        ("array_extra_close", r#"["x"]]"#),
        ("array_extra_comma", r#"["",]"#),
        ("array_incomplete", r#"["x""#),
        ("array_incomplete_invalid_value", "[x"),
        ("array_inner_array_no_comma", "[3[4]]"),
        ("array_items_separated_by_semicolon", "[1:2]"),
        ("array_just_comma", "[,]"),
        ("array_just_minus", "[-]"),
        ("array_missing_value", r#"[   , ""]"#),
        ("array_newlines_unclosed", "[\"a\",\n4\n,1,"),
        ("array_number_and_comma", "[1,]"),
        ("array_number_and_several_commas", "[1,,]"),
        ("array_spaces_vertical_tab_formfeed", "[\"\u{b}a\"\\f]"),
        ("array_star_inside", "[*]"),
        ("array_unclosed", r#"[""#),
        ("array_unclosed_trailing_comma", "[1,"),
        ("array_unclosed_with_new_lines", "[1,\n1\n,1"),
        ("array_unclosed_with_object_inside", "[{}"),
        ("incomplete_false", "[fals]"),
        ("incomplete_null", "[nul]"),
        ("incomplete_true", "[tru]"),
        ("multidigit_number_then_00", "123\0"),
        ("number_++", "[++1234]"),
        ("number_+1", "[+1]"),
        ("number_+Inf", "[+Inf]"),
        ("number_-01", "[-01]"),
        ("number_-1.0.", "[-1.0.]"),
        ("number_-2.", "[-2.]"),
        ("number_-NaN", "[-NaN]"),
        ("number_.-1", "[.-1]"),
        ("number_.2e-3", "[.2e-3]"),
        ("number_0.1.2", "[0.1.2]"),
        ("number_0.3e+", "[0.3e+]"),
        ("number_0.3e", "[0.3e]"),
        ("number_0.e1", "[0.e1]"),
        ("number_0_capital_E+", "[0E+]"),
        ("number_0_capital_E", "[0E]"),
        ("number_0e+", "[0e+]"),
        ("number_0e", "[0e]"),
        ("number_1.0e+", "[1.0e+]"),
        ("number_1.0e-", "[1.0e-]"),
        ("number_1.0e", "[1.0e]"),
        ("number_1_000", "[1 000.0]"),
        ("number_1eE2", "[1eE2]"),
        ("number_2.e+3", "[2.e+3]"),
        ("number_2.e-3", "[2.e-3]"),
        ("number_2.e3", "[2.e3]"),
        ("number_9.e+", "[9.e+]"),
        ("number_Inf", "[Inf]"),
        ("number_NaN", "[NaN]"),
        ("number_U+FF11_fullwidth_digit_one", "[\u{ff11}]"),
        ("number_expression", "[1+2]"),
        ("number_hex_1_digit", "[0x1]"),
        ("number_hex_2_digits", "[0x42]"),
        ("number_infinity", "[Infinity]"),
        ("number_invalid+-", "[0e+-1]"),
        ("number_invalid-negative-real", "[-123.123foo]"),
        ("number_minus_infinity", "[-Infinity]"),
        ("number_minus_sign_with_trailing_garbage", "[-foo]"),
        ("number_minus_space_1", "[- 1]"),
        ("number_neg_int_starting_with_zero", "[-012]"),
        ("number_neg_real_without_int_part", "[-.123]"),
        ("number_neg_with_garbage_at_end", "[-1x]"),
        ("number_real_garbage_after_e", "[1ea]"),
        ("number_real_without_fractional_part", "[1.]"),
        ("number_starting_with_dot", "[.123]"),
        ("number_then_00", "1\0"),
        ("number_with_alpha", "[1.2a-3]"),
        ("number_with_alpha_char", "[1.8011670033376514H-308]"),
        ("number_with_leading_zero", "[012]"),
        ("object_bad_value", r#"["x", truth]"#),
        ("object_bracket_key", "{[: \"x\"}\n"),
        ("object_comma_instead_of_colon", r#"{"x", null}"#),
        ("object_double_colon", r#"{"x"::"b"}"#),
        ("object_emoji", "{\u{1f1e8}\u{1f1ed}}"),
        ("object_garbage_at_end", r#"{"a":"a" 123}"#),
        ("object_key_with_single_quotes", "{key: 'value'}"),
        ("object_missing_colon", r#"{"a" b}"#),
        ("object_missing_key", r#"{:"b"}"#),
        ("object_missing_semicolon", r#"{"a" "b"}"#),
        ("object_missing_value", r#"{"a":"#),
        ("object_no-colon", r#"{"a""#),
        ("object_non_string_key", "{1:1}"),
        (
            "object_non_string_key_but_huge_number_instead",
            "{9999E9999:1}",
        ),
        ("object_repeated_null_null", "{null:null,null:null}"),
        ("object_several_trailing_commas", r#"{"id":0,,,,,}"#),
        ("object_single_quote", "{'a':0}"),
        ("object_trailing_comma", r#"{"id":0,}"#),
        ("object_trailing_comment", r#"{"a":"b"}/**/"#),
        ("object_trailing_comment_open", r#"{"a":"b"}/**//"#),
        ("object_trailing_comment_slash_open", r#"{"a":"b"}//"#),
        (
            "object_trailing_comment_slash_open_incomplete",
            r#"{"a":"b"}/"#,
        ),
        ("object_two_commas_in_a_row", r#"{"a":"b",,"c":"d"}"#),
        ("object_unquoted_key", r#"{a: "b"}"#),
        ("object_unterminated-value", r#"{"a":"a"#),
        ("object_with_single_string", r#"{ "foo" : "bar", "a" }"#),
        ("object_with_trailing_garbage", r#"{"a":"b"}#"#),
        ("single_space", " "),
        ("string_1_surrogate_then_escape", r#"["\uD800\"]"#),
        ("string_1_surrogate_then_escape_u", r#"["\uD800\u"]"#),
        ("string_1_surrogate_then_escape_u1", r#"["\uD800\u1"]"#),
        ("string_1_surrogate_then_escape_u1x", r#"["\uD800\u1x"]"#),
        ("string_accentuated_char_no_quotes", "[\u{e9}]"),
        ("string_backslash_00", "[\"\\\0\"]"),
        ("string_escape_x", r#"["\x00"]"#),
        ("string_escaped_backslash_bad", r#"["\\\"]"#),
        ("string_escaped_ctrl_char_tab", "[\"\\\t\"]"),
        ("string_escaped_emoji", "[\"\\\u{1f300}\"]"),
        ("string_incomplete_escape", r#"["\"]"#),
        ("string_incomplete_escaped_character", r#"["\u00A"]"#),
        ("string_incomplete_surrogate", r#"["\uD834\uDd"]"#),
        (
            "string_incomplete_surrogate_escape_invalid",
            r#"["\uD800\uD800\x"]"#,
        ),
        ("string_invalid_backslash_esc", r#"["\a"]"#),
        ("string_invalid_unicode_escape", r#"["\uqqqq"]"#),
        ("string_leading_uescaped_thinspace", r#"[\u0020"asd"]"#),
        ("string_no_quotes_with_bad_escape", r"[\n]"),
        ("string_octal_escape", r#"["\07"]"#),
        ("string_single_doublequote", "\""),
        ("string_single_quote", "['single quote']"),
        ("string_single_string_no_double_quotes", "abc"),
        ("string_start_escape_unclosed", "[\"\\"),
        ("string_unescaped_ctrl_char", "[\"a\0a\"]"),
        ("string_unescaped_newline", "[\"new\nline\"]"),
        ("string_unescaped_tab", "[\"\t\"]"),
        ("string_unicode_CapitalU", r#""\UA66D""#),
        ("string_with_trailing_garbage", r#""""x"#),
        ("structure_100000_opening_arrays", &deep),
        ("structure_UTF8_BOM_no_data", "\u{feff}"),
        ("structure_U+2060_word_joined", "[\u{2060}]"),
        ("structure_angle_bracket_.", "<.>"),
        ("structure_angle_bracket_null", "[<null>]"),
        ("structure_array_trailing_garbage", "[1]x"),
        ("structure_array_with_extra_array_close", "[1]]"),
        ("structure_array_with_unclosed_string", r#"["asd]"#),
        ("structure_ascii-unicode-identifier", "a\u{e5}"),
        ("structure_capitalized_True", "[True]"),
        ("structure_close_unopened_array", "1]"),
        ("structure_comma_instead_of_closing_brace", r#"{"x": true,"#),
        ("structure_double_array", "[][]"),
        ("structure_end_array", "]"),
        ("structure_lone-open-bracket", "["),
        ("structure_no_data", ""),
        ("structure_null-byte-outside-string", "[\0]"),
        ("structure_number_with_trailing_garbage", "2@"),
        ("structure_object_followed_by_closing_object", "{}}"),
        ("structure_object_unclosed_no_value", r#"{"":"#),
        ("structure_object_with_comment", r#"{"a":/*comment*/"b"}"#),
        (
            "structure_object_with_trailing_garbage",
            r#"{"a": true} "x""#,
        ),
        ("structure_open_array_apostrophe", "['"),
        ("structure_open_array_comma", "[,"),
        ("structure_open_array_object", &deep_pairs),
        ("structure_open_array_open_object", "[{"),
        ("structure_open_array_open_string", r#"["a"#),
        ("structure_open_array_string", r#"["a""#),
        ("structure_open_object", "{"),
        ("structure_open_object_close_array", "{]"),
        ("structure_open_object_comma", "{,"),
        ("structure_open_object_open_array", "{["),
        ("structure_open_object_open_string", r#"{"a"#),
        ("structure_open_object_string_with_apostrophes", "{'a'"),
        ("structure_open_open", r#"["\{["\{["\{["\{"#),
        ("structure_single_star", "*"),
        ("structure_trailing_#", r#"{"a":"b"}#{}"#),
        ("structure_uescaped_LF_before_string", r#"[\u000A""]"#),
        ("structure_unclosed_array", "[1"),
        ("structure_unclosed_array_partial_null", "[ false, nul"),
        ("structure_unclosed_array_unfinished_false", "[ true, fals"),
        ("structure_unclosed_array_unfinished_true", "[ false, tru"),
        ("structure_unclosed_object", r#"{"asd":"asd""#),
        ("structure_unicode-identifier", "\u{e5}"),
        ("structure_whitespace_U+2060_word_joiner", "\u{2060}"),
        ("structure_whitespace_formfeed", "[\u{c}]"),
        // Not of the suite.
        ("deep objects", &deep_objects),
        ("control character in a key", "{\"a\n\":1}"),
    ] {
        assert!(!is_json(text), "{name}: {text}");
    }
}

mod properties {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use serde_core::de::IgnoredAny;
    use serde_json::value::RawValue;

    use super::*;
    use crate::seed::property;

    /// Texts of what JSON is made of, most of them not quite JSON.
    fn nearly_json() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            8 => prop::sample::select(vec!["{", "}", "[", "]", ",", ":", "\"\"", "\"a\"", "0", " "]),
            4 => prop::sample::select(vec![
                "\"b\"", "true", "false", "null", "-1", "1.5", "1e9", "12345678901234567", "\n",
                "\"0123456789abcdef\"", "\"\\u0061\"", "\"\\n\"", "\"\\ud800\"", "\"\u{e9}\"",
            ]),
            1 => prop::sample::select(vec!["\"", "\\", "-", ".", "e", "+", "01", "tru", "\t", "\u{1}"]),
        ];
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #![proptest_config(property(4096))]

        /// serde_json has the same opinion, and finds the same.
        #[test]
        fn a_second_parser_agrees(text in nearly_json(), is_wrapped in any::<bool>()) {
            let text = if is_wrapped { format!("{{\"a\":{text}}}") } else { text };
            let is_json_too = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            prop_assert_eq!(is_json(&text), is_json_too, "{}", text);
            // Where no key has a lone surrogate, which none of its strings holds.
            if let Ok(all) = serde_json::from_str::<HashMap<String, &RawValue>>(&text)
                && is_json_too
            {
                let [a, b] = members(&text, ["a", "b"]).unwrap();
                prop_assert_eq!(a, all.get("a").map(|value| value.get()));
                prop_assert_eq!(b, all.get("b").map(|value| value.get()));
            }
        }
    }
}
