package parser

import (
	"fmt"
	"strings"
	"testing"
)

// longFile is a Dockerfile of n lines at least, with what real ones hold.
func longFile(n int) []byte {
	var b strings.Builder
	b.WriteString("# syntax=docker/dockerfile:1\nARG V=1\n")
	for i := 0; strings.Count(b.String(), "\n") < n; i++ {
		fmt.Fprintf(&b, "FROM alpine:$V AS stage%d\n", i)
		for j := range 20 {
			fmt.Fprintf(&b, "ENV A%d=\"x y\" B%d=${A:-b} \\\n    C=d\n", j, j)
			b.WriteString("# a comment\nRUN --mount=type=cache,target=/var/cache,sharing=locked set -eux; \\\n    # inside\n    apt-get update; \\\n\n    apt-get install -y a b c\n")
			b.WriteString("COPY --from=0 --chown=1:2 a b c /dst/\nRUN <<EOF\nset -e\necho $x\nEOF\nLABEL a=b c=\"d e\"\nCMD [\"a\", \"b\"]\n\n")
		}
	}
	return []byte(b.String())
}

func BenchmarkParse5000Lines(b *testing.B) {
	src := longFile(5000)
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("Dockerfile", src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExpand(b *testing.B) {
	for b.Loop() {
		if _, _, err := expand("/opt/${A:-x}/bin:$B/${C%/*}", '\\'); err != nil {
			b.Fatal(err)
		}
	}
}
