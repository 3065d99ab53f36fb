package docs

import (
	"regexp"
	"strings"
	"testing"
)

// differs is what is not the same in each run, and what it is replaced by.
var differs = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]"), ""},
	{regexp.MustCompile(`\b[0-9a-f]{12,64}\b`), "HEX"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d`), "DATE"},
	{regexp.MustCompile(`\b\d+(\.\d+)? ?(ms|s|min)\b`), "TIME"},
	{regexp.MustCompile(`\b\d+(\.\d+)? ?[kMGT]?B\b`), "SIZE"},
	{regexp.MustCompile(`[ \t]+`), " "},
}

func normal(line string) string {
	for _, d := range differs {
		line = d.re.ReplaceAllString(line, d.by)
	}
	return strings.TrimSpace(line)
}

// missing returns the first line of want that got lacks, after those before it.
func missing(got, want string) (string, bool) {
	lines := strings.Split(got, "\n")
	for _, w := range strings.Split(want, "\n") {
		n := normal(w)
		if n == "" || n == "..." {
			continue
		}
		parts := strings.Split(n, "...")
		for i, p := range parts {
			parts[i] = regexp.QuoteMeta(strings.TrimSpace(p))
		}
		re := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		i := 0
		for i < len(lines) && !re.MatchString(normal(lines[i])) {
			i++
		}
		if i == len(lines) {
			return w, true
		}
		lines = lines[i+1:]
	}
	return "", false
}

func TestMissing(t *testing.T) {
	const got = "  1* FROM debian\n  2. RUN make  3.1 s\nbuilt app:latest (0123456789ab)\n"
	for want, miss := range map[string]string{
		"1* FROM debian\nbuilt app:latest (4f5e6d7c8b9a)": "",
		"2. RUN make 0.2 s":                  "",
		"...\nbuilt ... (...)":               "",
		"2. RUN make 3.1 s\n1* FROM debian":  "1* FROM debian",
		"2* RUN make 3.1 s":                  "2* RUN make 3.1 s",
		"built app:1 (0123456789ab)\nothers": "built app:1 (0123456789ab)",
	} {
		if line, lacks := missing(got, want); line != miss || lacks != (miss != "") {
			t.Errorf("%q: got %q, want %q", want, line, miss)
		}
	}
}
