package parser

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func testLookup(name string) (string, bool) {
	v, ok := map[string]string{
		"A": "abc", "EMPTY": "", "PATH": "/usr/local/bin:/bin", "FILE": "/a/b/c.tar.gz", "PAT": "*b", "SP": "x  y",
		"BS": `a\bc`, "STARS": "a***yy*", "E": "éxé",
	}[name]
	return v, ok
}

var expandCases = []struct {
	in    string
	want  string
	unset string // names, separated by blanks
	err   string // part of the message
	col   int
}{
	{in: "plain", want: "plain"},
	{in: "$A", want: "abc"},
	{in: "${A}x$A.$A", want: "abcxabc.abc"},
	{in: "$Ax", unset: "Ax"},
	{in: "$NO${NO}$NONE", unset: "NO NONE"},
	{in: "$", want: "$"},
	{in: "a$ b$.", want: "a$ b$."},
	{in: "$1a", want: "a", unset: "1"},
	{in: "$$", unset: "$"},
	{in: `\$A`, want: "$A"},
	{in: `a\ b\\c\d`, want: `a b\cd`},
	{in: `end\`, want: "end"},
	{in: `'$A "x" \'`, want: `$A "x" \`},
	{in: `"$A 'x' \" \$ \\ \n"`, want: `abc 'x' " $ \ \n`},
	{in: `a"b"'c'd`, want: "abcd"},
	{in: `""`, want: ""},
	// - + ?
	{in: "${NO-x}${EMPTY-x}${A-x}", want: "xabc"},
	{in: "${NO:-x}${EMPTY:-y}${A:-z}", want: "xyabc"},
	{in: "${NO+x}${EMPTY+y}${A+z}", want: "yz"},
	{in: "${NO:+x}${EMPTY:+y}${A:+z}", want: "z"},
	{in: "${A?no}${A:?no}${EMPTY?no}", want: "abcabc"},
	{in: "x${NO?}", err: "the variable NO is not set", col: 2},
	{in: "${NO?tell them}", err: "the variable NO is not set: tell them", col: 1},
	{in: "${EMPTY:?a}", err: "the variable EMPTY is not set to anything: a", col: 1},
	{in: "${NO:-${ALSO:-$A}}", want: "abc"},
	{in: "${NO:-$ALSO}", unset: "ALSO"},
	{in: "${A:-$ALSO}", want: "abc"},
	{in: "${A:-${NO?x}}", want: "abc"},
	{in: `${NO:-"a b" '}'\}c}`, want: "a b }}c"},
	{in: `"${NO:-x y}"`, want: "x y"},
	{in: "${NO:-}", want: ""},
	// # % with patterns
	{in: "${FILE#*/}", want: "a/b/c.tar.gz"},
	{in: "${FILE##*/}", want: "c.tar.gz"},
	{in: "${FILE%.*}", want: "/a/b/c.tar"},
	{in: "${FILE%%.*}", want: "/a/b/c"},
	{in: "${FILE#x}${A#a?}${A%?}", want: "/a/b/c.tar.gzcab"},
	{in: "${A#}${A%}${A##}", want: "abcabcabc"},
	{in: "${A#*}${A##*}${A%*}${A%%*}", want: "abcabc"},
	{in: "${A#$PAT}", want: "c"},
	{in: "${NO#x}", unset: "NO"},
	{in: `${STARS%%\**\*}`, want: "a"},
	{in: `${STARS#a\*}`, want: "**yy*"},
	{in: `${BS#"a\b"}${BS#'a\b'}`, want: "cc"},
	{in: `${BS#a\\b}`, want: "c"},
	{in: `${A#\x}`, err: `the pattern "\\x" holds the escape "\\x"`, col: 5},
	{in: "${E#?}${E%?}", want: "xééx"},
	{in: `${A#"a b"}`, want: "abc"},
	// / //
	{in: "${FILE/a/X}", want: "/X/b/c.tar.gz"},
	{in: "${FILE//a/X}", want: "/X/b/c.tXr.gz"},
	{in: `${FILE//\//_}`, want: "_a_b_c.tar.gz"},
	{in: "${FILE/*./X.}", want: "X.gz"},
	{in: "${FILE//?/-}", want: "-------------"},
	{in: "${A/b/}", want: "ac"},
	{in: "${A/b/$FILE}", want: "a/a/b/c.tar.gzc"},
	{in: "${A/x/y}${A//x/y}", want: "abcabc"},
	{in: "${A/EMPTY/y}", want: "abc"},
	{in: "${A/$EMPTY/y}", want: "yabc"},
	{in: "${A//*/y}", want: "y"},
	{in: "${NO/a/b}", unset: "NO"},
	{in: `${A/b/"x\y"}`, want: `ax\\yc`}, // so does BuildKit
	{in: "${A//b/$1x}", want: "axc", unset: "1"},
	// errors
	{in: "'a", err: "the quote ' is not closed", col: 1},
	{in: `ab"c$A`, err: "the quote \" is not closed", col: 3},
	{in: "${", err: "the } of ${ is missing", col: 1},
	{in: "x${A", err: "the } of ${ is missing", col: 2},
	{in: "${A:-b", err: "the } of ${ is missing", col: 1},
	{in: "${A:", err: "the } of ${ is missing", col: 1},
	{in: "${}", err: "${ is not followed by a name", col: 1},
	{in: "${ A}", err: "${ is not followed by a name", col: 1},
	{in: "${:-x}", err: "${ is not followed by a name", col: 1},
	{in: "${A^^}", err: `"^" is not an operator`, col: 1},
	{in: "${A:1:2}", err: `":1" is not an operator`, col: 1},
	{in: "${A=x}", err: `"=" is not an operator`, col: 1},
	{in: "${A:#x}", err: `":#" is not an operator`, col: 1},
	{in: "${A/b}", err: "the second / of ${A/pattern/word} is missing", col: 1},
	{in: "${A/b/c", err: "the } of ${ is missing", col: 1},
	{in: strings.Repeat("${FILE//?/", 9) + "x" + strings.Repeat("}", 9), err: "the value grows beyond 1048576 bytes", col: 31},
	{in: "${A#" + strings.Repeat("a", 5000) + "}", err: "the pattern is longer than 4096 bytes", col: 5},
	{in: strings.Repeat("${A:-", 300) + strings.Repeat("}", 300), err: "nested too deeply", col: 1001},
}

// expand substitutes variables in one word, as instructions do.
func expand(word string, escape rune) (string, []string, error) {
	value, unset, bad := expandText(word, escape, testLookup)
	if bad != nil {
		return "", unset, bad.alone(word)
	}
	return value, unset, nil
}

// expandWords splits, too, at unquoted white space.
func expandWords(word string, escape rune) ([]string, error) {
	e := expander{text: word, escape: escape, lookup: testLookup}
	var w splitter
	if _, bad := e.run(mode{}, &w); bad != nil {
		return nil, bad.alone(word)
	}
	w.flush(len(word))
	return w.words, nil
}

func TestExpand(t *testing.T) {
	for _, c := range expandCases {
		got, unset, err := expand(c.in, '\\')
		if c.err != "" {
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(e.Msg, c.err) || e.Pos != (Pos{1, c.col}) {
				t.Errorf("expand(%q): error %v; want %q at column %d", c.in, err, c.err, c.col)
			}
			continue
		}
		if err != nil || got != c.want || strings.Join(unset, " ") != c.unset {
			t.Errorf("expand(%q) = %q, unset %q, %v; want %q, unset %q", c.in, got, unset, err, c.want, c.unset)
		}
	}
}

func TestExpandBacktick(t *testing.T) {
	for in, want := range map[string]string{
		"`$A $A C:\\x": "$A abc C:\\x", "\"`\" ``\" a`": "\" ` a", "a\\$A": "a\\abc", "'`'": "`",
	} {
		if got, _, err := expand(in, '`'); err != nil || got != want {
			t.Errorf("expand(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestExpandWords(t *testing.T) {
	for in, want := range map[string][]string{
		"":                nil,
		"  a\tb ":         {"a", "b"},
		"$SP":             {"x", "y"},
		`"$SP"`:           {"x  y"},
		`a\ b 'c d'"e f"`: {"a b", "c de f"},
		`"" ''`:           nil,
		"a${EMPTY}b $NO":  {"ab"},
		"1$SP.2":          {"1x", "y.2"},
		"8${NO:-0}80":     {"8080"},
	} {
		if got, err := expandWords(in, '\\'); err != nil || !slices.Equal(got, want) {
			t.Errorf("expandWords(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestExpandText(t *testing.T) {
	in := "it's \"$A\"\n\\$A 'x${A}y'\n$NO"
	got, unset, err := ExpandText(in, testLookup)
	if want := "it's \"abc\"\n$A 'xabcy'\n"; err != nil || got != want || !slices.Equal(unset, []string{"NO"}) {
		t.Errorf("ExpandText = %q, %q, %v; want %q", got, unset, err, want)
	}
	_, _, err = ExpandText("a\nb ${A", testLookup)
	var e *Error
	if !errors.As(err, &e) || e.Pos != (Pos{2, 3}) || e.SourceLine != "b ${A" {
		t.Errorf("error %+v; want one at 2:3", err)
	}
}
