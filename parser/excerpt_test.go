package parser

import (
	"strings"
	"testing"
)

func TestExcerpt(t *testing.T) {
	long := "RUN <<EOF\n" + strings.Repeat("echo\n", 20) + "EOF\n"
	for _, tc := range []struct {
		name, text string
		n          int
		want       string
	}{
		{"middle", "FROM a\nENV A=b\nRUN x &&\\\n  y\nCMD z\nUSER u\n", 1,
			"    1 | FROM a\n    2 | ENV A=b\n>   3 | RUN x &&\\\n>   4 |   y\n    5 | CMD z\n    6 | USER u"},
		{"end of file", "FROM a\nRUN x\n", 0, "    1 | FROM a\n>   2 | RUN x"},
		{"control characters", "FROM a\nRUN \x1b[2Jx", 0, "    1 | FROM a\n>   2 | RUN \ufffd[2Jx"},
		{"long", "FROM a\n" + long, 0, "    1 | FROM a\n>   2 | RUN <<EOF\n" + strings.Repeat("", 1)},
	} {
		f, err := Parse("Dockerfile", []byte(tc.text))
		if err != nil {
			t.Fatal(err)
		}
		got := Excerpt(f.Stages[0].Instructions[tc.n], 2)
		if tc.name == "long" {
			if !strings.HasPrefix(got, tc.want) || strings.Count(got, "\n") != 13 || !strings.HasSuffix(got, "> ... 10 more lines") && !strings.HasSuffix(got, "| ... 10 more lines") {
				t.Errorf("long:\n%s", got)
			}
			continue
		}
		if got != tc.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tc.name, got, tc.want)
		}
	}
}
