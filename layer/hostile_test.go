package layer

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rawMember is a member as bytes, so that it may say what no writer of
// archives would: name, size field and type as given, checksum right.
func rawMember(kind byte, name, size, link string, content string) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], size)
	copy(h[136:], "00000000000\x00        ")
	h[156] = kind
	copy(h[157:], link)
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	for len(content)%512 != 0 {
		content += "\x00"
	}
	return append(h, content...)
}

func octal(n int) string { return fmt.Sprintf("%011o\x00", n) }

// pax is an extended header of the records given, for the member after it.
func pax(records ...string) []byte {
	var b strings.Builder
	for i := 0; i < len(records); i += 2 {
		rest := fmt.Sprintf(" %s=%s\n", records[i], records[i+1])
		n := len(rest) + 2
		if n > 99 {
			n++
		}
		if n > 999 {
			n++
		}
		fmt.Fprintf(&b, "%d%s", n, rest)
	}
	return rawMember('x', "pax", octal(b.Len()), "", b.String())
}

// gnu is a GNU long name ('L') or long link target ('K') for the member after it.
func gnu(kind byte, name string) []byte {
	return rawMember(kind, "././@LongLink", octal(len(name)+1), "", name+"\x00")
}

func raw(parts ...[]byte) []byte { return append(bytes.Join(parts, nil), make([]byte, 1024)...) }

// TestUnpackHeaderTricks: headers that contradict each other or themselves
// give an error or a plain file inside, and never anything outside.
func TestUnpackHeaderTricks(t *testing.T) {
	plain := rawMember('0', "f", octal(1), "", "x")
	const escape = "../outside/f"
	for _, c := range []struct {
		name  string
		layer []byte
		want  []string
		err   string
	}{
		{name: "PAX path overrides the name", layer: raw(pax("path", "g"), plain), want: []string{`file g 644 "x"`}},
		{name: "PAX path leaves the image", layer: raw(pax("path", escape), plain), err: `path "../outside/f" leaves the image`},
		{name: "PAX path is absolute", layer: raw(pax("path", "/g"), plain), want: []string{`file g 644 "x"`}},
		{name: "PAX path has NUL", layer: raw(pax("path", "g\x00../x"), plain), err: "neither a tar archive"},
		{name: "PAX path twice", layer: raw(pax("path", "g", "path", escape), plain), err: "leaves the image"},
		{name: "two PAX headers", layer: raw(pax("path", escape), pax("path", "g"), plain), want: []string{`file g 644 "x"`}},
		{name: "PAX path of a file is a directory's", layer: raw(pax("path", "g/"), plain), want: []string{`file g 644 "x"`}},
		{name: "PAX linkpath overrides the target", layer: raw(plain, pax("linkpath", "../../outside/secret"), rawMember('1', "h", octal(0), "f", "")),
			err: `target "outside/secret" does not exist`},
		{name: "PAX linkpath has NUL", layer: raw(pax("linkpath", "a\x00b"), rawMember('2', "s", octal(0), "f", "")), err: "neither a tar archive"},
		{name: "PAX size overrides the size", layer: raw(pax("size", "3"), rawMember('0', "f", octal(1), "", "xyz")), want: []string{`file f 644 "xyz"`}},
		{name: "PAX size hides a member", layer: raw(pax("size", "1024"), rawMember('0', "f", octal(0), "", ""), plain), want: []string{
			"file f 644 " + fmt.Sprintf("%.40q", "f"+strings.Repeat("\x00", 99))}},
		{name: "PAX size is negative", layer: raw(pax("size", "-1"), plain), err: "neither a tar archive"},
		{name: "PAX size is beyond 64 bits", layer: raw(pax("size", "99999999999999999999"), plain), err: "neither a tar archive"},
		{name: "PAX size is more than there is", layer: raw(pax("size", "9223372036854775807"), plain), err: "archive ends early"},
		{name: "PAX owner is negative", layer: raw(pax("uid", "-5"), plain), err: "out of range"},
		{name: "PAX owner is too large", layer: raw(pax("gid", "4294967295"), plain), err: "out of range"},
		{name: "PAX record longer than its header", layer: raw(rawMember('x', "p", octal(9), "", "99 path=x"), plain), err: "neither a tar archive"},
		{name: "PAX time is absurd", layer: raw(pax("mtime", "99999999999999"), plain), want: []string{`file f 644 "x"`}},
		{name: "PAX attribute without a name", layer: raw(pax("SCHILY.xattr.", "x"), plain), want: []string{`file f 644 "x" ="x"`}},
		{name: "GNU long name", layer: raw(gnu('L', "g"), plain), want: []string{`file g 644 "x"`}},
		{name: "GNU long name leaves the image", layer: raw(gnu('L', escape), plain), err: "leaves the image"},
		{name: "GNU long name and PAX path", layer: raw(gnu('L', "g"), pax("path", escape), plain), want: []string{`file g 644 "x"`}},
		{name: "PAX path and GNU long name", layer: raw(pax("path", "g"), gnu('L', escape), plain), err: "leaves the image"},
		{name: "GNU long name without a member", layer: raw(gnu('L', "g"))},
		{name: "GNU long target", layer: raw(gnu('K', "../../outside/secret"), rawMember('1', "h", octal(0), "f", "")), err: "does not exist"},
		{name: "negative size in base 256", layer: raw(rawMember('0', "f", strings.Repeat("\xff", 12), "", "")), err: "neither a tar archive"},
		{name: "huge size in base 256", layer: raw(rawMember('0', "f", "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", "", "x")), err: "archive ends early"},
		{name: "a directory with content", layer: raw(rawMember('5', "d/", octal(600), "", strings.Repeat("x", 1024)), plain), err: "damaged"},
		{name: "a link with content", layer: raw(rawMember('2', "s", octal(512), "f", ""), plain), want: []string{`file f 644 "x"`, "sym s -> f"}},
		{name: "a name that is only slashes", layer: raw(rawMember('0', "///", octal(0), "", "")), err: "is the root of the image, but not a directory"},
		{name: "a name of spaces", layer: raw(rawMember('0', " ", octal(0), "", "")), want: []string{`file   644 ""`}},
		{name: "the old type of files", layer: raw(rawMember(0, "f", octal(1), "", "x")), want: []string{`file f 644 "x"`}},
		{name: "a member in the end mark", layer: append(make([]byte, 512), raw(plain)...), err: "neither a tar archive"},
		{name: "members after the end mark", layer: append(raw(plain), raw(rawMember('0', "g", octal(0), "", ""))...), want: []string{`file f 644 "x"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newArena(t)
			u, err := Unpack(t.Context(), a.root, []Blob{blob(c.layer)}, Options{})
			a.check(t)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error is %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			equalLines(t, "tree", describe(t, a.root, u.Owners, false), c.want)
		})
	}
}

// TestUnpackSparseLies: maps of sparse files that overlap, run backwards, or
// promise more than there is.
func TestUnpackSparseLies(t *testing.T) {
	data := strings.Repeat("x", 512)
	sparse := func(size int, mp, content string) []byte {
		return raw(pax("GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.name", "f", "GNU.sparse.size", fmt.Sprint(size),
			"GNU.sparse.numblocks", fmt.Sprint((strings.Count(mp, ",")+1)/2), "GNU.sparse.map", mp), rawMember('0', "f", octal(len(content)), "", content))
	}
	for name, layer := range map[string][]byte{
		"overlapping":              sparse(4096, "0,512,256,512", data+data),
		"backwards":                sparse(4096, "2048,512,0,512", data+data),
		"beyond the size":          sparse(4096, "4000,512", data),
		"negative":                 sparse(4096, "-512,512", data),
		"more than the content":    sparse(4096, "0,1024", data),
		"less than the content":    sparse(4096, "0,512", data+data),
		"odd number of fields":     sparse(4096, "0,512,1024", data),
		"offset overflows":         sparse(4096, "9223372036854775807,512", data),
		"a petabyte":               sparse(1<<50, "0,512", data),
		"negative size":            sparse(-1, "0,512", data),
		"map in the data, endless": raw(pax("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "f", "GNU.sparse.realsize", "9"), rawMember('0', "f", octal(512), "", "99999999\n"+strings.Repeat("1\n", 250))),
	} {
		t.Run(name, func(t *testing.T) {
			a := newArena(t)
			_, err := Unpack(t.Context(), a.root, []Blob{blob(layer)}, Options{})
			a.check(t)
			if err == nil {
				t.Error("no error")
			}
		})
	}
	a := newArena(t)
	if _, err := Unpack(t.Context(), a.root, []Blob{blob(sparse(4096, "1024,512", data))}, Options{}); err != nil {
		t.Errorf("an honest map: %v", err)
	}
}

// TestUnpackLongPaths: names of 255 bytes, and paths that open(2) could not take as they are.
func TestUnpackLongPaths(t *testing.T) {
	long := strings.Repeat("d", 255)
	deep := strings.TrimSuffix(strings.Repeat(long+"/", 16), "/") // 4095 bytes
	var es []entry
	for i := 255; i < len(deep); i += 256 {
		es = append(es, dir(deep[:i]))
	}
	es = append(es, file(deep, "deep"), hard("h", deep), sym("s", strings.Repeat("t", 4095)))
	a := newArena(t)
	u, err := Unpack(t.Context(), a.root, blobs(t, es, []entry{file(deep, "again")}, []entry{wh(deep[:3839] + "/.wh." + long)}), Options{})
	if err == nil || !strings.Contains(err.Error(), "more than the limit of 4096") {
		t.Errorf("a whiteout's path longer than any: %v", err)
	}
	a = newArena(t)
	if u, err = Unpack(t.Context(), a.root, blobs(t, es, []entry{file(deep, "again")}), Options{}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(a.root, "h")); err != nil || string(got) != "deep" {
		t.Errorf("the other name holds %q (%v)", got, err)
	}
	again := packed(t, a.root, u.Owners, PackOptions{})
	found := false
	for tr := tar.NewReader(bytes.NewReader(again)); ; {
		h, err := tr.Next()
		if err != nil {
			break
		}
		found = found || h.Name == deep && h.Size == 5
	}
	if !found {
		t.Error("packed, the deep file is not there")
	}
	// t.TempDir could not remove it by path either.
	if err := removeDeep(a.root); err != nil {
		t.Error(err)
	}
}

func removeDeep(dir string) error {
	t, err := newTree(dir, false, nil)
	if err != nil {
		return err
	}
	defer t.close()
	_, err = t.pruneIn(t.root.fd, ".", false)
	return err
}

// TestUnpackSelf: a layer that replaces the directory being written, and the
// root, while small files are on their way.
func TestUnpackSelf(t *testing.T) {
	var es []entry
	for round := range 30 {
		for i := range 30 {
			es = append(es, file(fmt.Sprintf("a/b/f%d", i), fmt.Sprint(round)))
		}
		switch round % 5 {
		case 0:
			es = append(es, file("a/b", "no directory"))
		case 1:
			es = append(es, sym("a", "../outside"))
		case 2:
			es = append(es, sym("a/b", "/c"), dir("a/b"))
		case 3:
			es = append(es, hard("a", "a/b/f3"))
		case 4:
			es = append(es, dir("."), special(kindFifo, "a"))
		}
		if round%5 == 3 { // the link's target went with the directory it replaced
			es = es[:len(es)-1]
		}
	}
	a := newArena(t)
	u, err := Unpack(t.Context(), a.root, blobs(t, es, es), Options{})
	a.check(t)
	if err != nil {
		t.Fatal(err)
	}
	if got := describe(t, a.root, u.Owners, false); !strings.Contains(strings.Join(got, "\n"), "fifo a 644") {
		t.Errorf("the last member has not won:\n%s", strings.Join(got, "\n"))
	}
}
