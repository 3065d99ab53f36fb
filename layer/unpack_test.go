package layer

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unpackCase is an image and the tree that it is.
type unpackCase struct {
	name   string
	layers [][]entry
	want   []string
	fixes  Fixes
	err    string // part of the error, if one is wanted
}

func runUnpackCases(t *testing.T, cases []unpackCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := newArena(t)
			u, err := Unpack(t.Context(), a.root, blobs(t, c.layers...), Options{})
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
			if u.Fixes != c.fixes {
				t.Errorf("fixes are %+v, want %+v", u.Fixes, c.fixes)
			}
			for path := range u.Owners {
				if _, err := os.Lstat(filepath.Join(a.root, path)); err != nil {
					t.Errorf("table knows %q, which is not there", path)
				}
			}
		})
	}
}

func TestUnpackFixups(t *testing.T) {
	runUnpackCases(t, []unpackCase{
		{name: "no layers"},
		{name: "empty layer", layers: [][]entry{{}}},
		{name: "modes are widened, the true ones recorded",
			layers: [][]entry{{dir("d").mode(0o555), file("d/f", "x").mode(0o004), dir("z").mode(0)}},
			want:   []string{"dir d 755 perm 555", `file d/f 604 "x" perm 4`, "dir z 700 perm 0"}},
		{name: "set-id and sticky bits stay on disk",
			layers: [][]entry{{dir("d").mode(0o1777), dir("g").mode(0o2755), dir("g/sub"), file("su", "x").mode(0o4755), file("sg", "").mode(0o2711)}},
			want: []string{"dir d 1777", "dir g 2755", "dir g/sub 755",
				`file sg 2711 ""`, `file su 4755 "x"`}},
		{name: "modes that a umask would cut",
			layers: [][]entry{{dir("d").mode(0o777), file("f", "").mode(0o666)}},
			want:   []string{"dir d 777", `file f 666 ""`}},
		{name: "owners are recorded",
			layers: [][]entry{{dir("d").owner(0, 5), file("d/f", "").owner(1000, 1000), sym("s", "d").owner(7, 0), file("root", "")}},
			want:   []string{"dir d 755 owner 0:5", `file d/f 644 "" owner 1000:1000`, `file root 644 ""`, "sym s -> d owner 7:0"}},
		{name: "the last layer's owner counts",
			layers: [][]entry{{file("a", "").owner(1, 1), file("b", "").owner(2, 2), dir("d").owner(3, 3), file("d/x", "").owner(4, 4)},
				{file("a", ""), file("b", "").owner(5, 5), wh(".wh.d")}},
			want: []string{`file a 644 ""`, `file b 644 "" owner 5:5`}},
		{name: "devices are recorded",
			layers: [][]entry{{special(kindChar, "null").owner(0, 5), special(kindBlock, "a/disk"), special(kindFifo, "fifo")}},
			want:   []string{"dir a 755", `file a/disk 644 "" device 60000 1:3`, "fifo fifo 644", `file null 644 "" owner 0:5 device 20000 1:3`}},
		{name: "a device replaces what was there, links to it do too, and a file replaces it",
			layers: [][]entry{{file("n", "old"), file("l", "old"), special(kindChar, "f")}, {special(kindChar, "n"), hard("l", "n"), file("f", "x")}},
			want:   []string{`file f 644 "x"`, `file l 644 "" device 20000 1:3`, "hard n = l"}},
		{name: "a device 0:0 is nothing, and links to it are not either",
			layers: [][]entry{{file("n", "old"), file("l", "old")}, {nothing("n"), hard("l", "n")}},
			fixes:  Fixes{Devices: 2}},
		{name: "nothing is created below dev",
			layers: [][]entry{{dir("dev"), dir("dev/pts"), file("dev/f", "x"), sym("dev/fd", "/proc/self/fd"), hard("l", "dev/f")}},
			want:   []string{"dir dev 755"}, fixes: Fixes{Devices: 4}},
		{name: "absolute names lose the slash",
			layers: [][]entry{{file("/etc/f", "x"), hard("//h", "/etc/f")}},
			want:   []string{"dir etc 755", `file etc/f 644 "x"`, "hard h = etc/f"}, fixes: Fixes{Absolute: 3}},
		{name: "dots in names mean nothing",
			layers: [][]entry{{dir("./a"), file("a/./b", "x"), file("./a//c", "y")}},
			want:   []string{"dir a 755", `file a/b 644 "x"`, `file a/c 644 "y"`}},
		{name: "the root has attributes too",
			layers: [][]entry{{dir(".").mode(0o711).owner(3, 4), file("f", "")}},
			want:   []string{`file f 644 ""`}},
		{name: "strange names",
			layers: [][]entry{{file("new\nline", "x"), file("inv\xff\xfealid", "y"), file(strings.Repeat("n", 255), "z"), file("a=b", ""), file("..c", ""), file("...", "")}},
			want: []string{`file ... 644 ""`, `file ..c 644 ""`, `file a=b 644 ""`, "file inv\xff\xfealid 644 \"y\"",
				"file new\nline 644 \"x\"", "file " + strings.Repeat("n", 255) + ` 644 "z"`}},
		{name: "a path component longer than a name can be",
			layers: [][]entry{{file(strings.Repeat("n", 256), "z")}}, err: "file name too long"},
		{name: "a path longer than any",
			layers: [][]entry{{file(strings.Repeat("n/", 2050)+"x", "z")}}, err: "more than the limit of 4096"},
		{name: "unknown type", layers: [][]entry{{special('V', "label")}}, err: `path "label": unknown member type 'V'`},
		{name: "a link without a target", layers: [][]entry{{sym("s", "")}}, err: `symbolic link "s" has no target`},
		{name: "the root as a link", layers: [][]entry{{sym("/", "x")}}, err: "is the root of the image, but not a directory"},
		{name: "owners out of range", layers: [][]entry{{file("f", "").owner(1<<40, 0)}}, err: "out of range"},
		{name: "a PAX global header is no file",
			layers: [][]entry{{globalHeader(), file("f", "")}},
			want:   []string{`file f 644 ""`}},
	})
}

func TestUnpackReplacement(t *testing.T) {
	kinds := map[string][]entry{
		"dir":  {dir("p"), file("p/in", "")},
		"file": {file("p", "data")},
		"sym":  {sym("p", "elsewhere")},
		"fifo": {special(kindFifo, "p")},
		"hard": {file("a", "linked"), hard("p", "a")},
		"none": {file("b", "")},
	}
	want := map[string][]string{
		"dir":  {"dir p 755", `file p/in 644 ""`},
		"file": {`file p 644 "data"`},
		"sym":  {"sym p -> elsewhere"},
		"fifo": {"fifo p 644"},
		"hard": {`file a 644 "linked"`, "hard p = a"},
		"none": {},
	}
	for old := range kinds {
		for new, tree := range want {
			if new == "none" {
				continue
			}
			// What the old layer leaves beside p.
			expect := tree
			switch {
			case old == "none":
				expect = append([]string{`file b 644 ""`}, tree...)
				if new == "hard" {
					expect = []string{tree[0], `file b 644 ""`, tree[1]}
				}
			case old == "hard" && new != "hard":
				expect = append([]string{`file a 644 "linked"`}, tree...)
			}
			for _, split := range []bool{true, false} {
				name, layers := old+" by "+new, [][]entry{kinds[old], kinds[new]}
				if !split {
					name += " in one layer"
					layers = [][]entry{append(append([]entry{}, kinds[old]...), kinds[new]...)}
				}
				runUnpackCases(t, []unpackCase{{name: name, layers: layers, want: expect}})
			}
		}
	}
	runUnpackCases(t, []unpackCase{
		{name: "a directory keeps its content",
			layers: [][]entry{{dir("d").mode(0o700), file("d/a", "1")}, {dir("d").owner(1, 1), file("d/b", "2")}},
			want:   []string{"dir d 755 owner 1:1", `file d/a 644 "1"`, `file d/b 644 "2"`}},
		{name: "a directory without an entry keeps the attributes of the layer below",
			layers: [][]entry{{dir("d").mode(0o711).owner(1, 1)}, {file("d/b", "2")}},
			want:   []string{"dir d 711 owner 1:1", `file d/b 644 "2"`}},
		{name: "the last of several members of a name wins",
			layers: [][]entry{{file("f", "1"), file("g", "1"), hard("h", "f"), file("f", "2").owner(9, 9)}},
			want:   []string{`file f 644 "2" owner 9:9`, `file g 644 "1"`, `file h 644 "1"`}},
		{name: "a file that has members below it becomes a directory",
			layers: [][]entry{{file("f", "1"), file("f/x", "2")}, {file("f/x/y", "3")}},
			want:   []string{"dir f 755", "dir f/x 755", `file f/x/y 644 "3"`}},
		{name: "a replaced name leaves its other names alone",
			layers: [][]entry{{file("a", "old"), hard("b", "a")}, {file("a", "new")}},
			want:   []string{`file a 644 "new"`, `file b 644 "old"`}},
	})
}

func TestUnpackWhiteouts(t *testing.T) {
	base := []entry{dir("d").owner(1, 1), file("d/a", "low"), dir("d/s"), file("d/s/x", "low"), file("f", "low")}
	runUnpackCases(t, []unpackCase{
		{name: "file", layers: [][]entry{base, {wh(".wh.f"), wh("d/.wh.a")}},
			want: []string{"dir d 755 owner 1:1", "dir d/s 755", `file d/s/x 644 "low"`}},
		{name: "directory", layers: [][]entry{base, {wh(".wh.d")}}, want: []string{`file f 644 "low"`}},
		{name: "what is not there", layers: [][]entry{base, {wh(".wh.nothing"), wh("no/dir/.wh.x"), wh("f/.wh.x"), wh("no/.wh..wh..opq")}},
			want: []string{"dir d 755 owner 1:1", `file d/a 644 "low"`, "dir d/s 755", `file d/s/x 644 "low"`, `file f 644 "low"`}},
		{name: "in the lowest layer they mean nothing", layers: [][]entry{{wh(".wh.f"), file("f", "x"), wh(".wh..wh..opq")}},
			want: []string{`file f 644 "x"`}},
		{name: "before the entry of the same layer", layers: [][]entry{base, {wh(".wh.f"), file("f", "new")}},
			want: []string{"dir d 755 owner 1:1", `file d/a 644 "low"`, "dir d/s 755", `file d/s/x 644 "low"`, `file f 644 "new"`}},
		{name: "after the entry of the same layer", layers: [][]entry{base, {file("f", "new"), wh(".wh.f"), dir("d"), file("d/n", "new"), wh(".wh.d")}},
			want: []string{"dir d 755", `file d/n 644 "new"`, `file f 644 "new"`}},
		{name: "a directory only implied by the same layer", layers: [][]entry{base, {file("d/n", "new"), wh(".wh.d")}},
			want: []string{"dir d 755", `file d/n 644 "new"`, `file f 644 "low"`}},
		{name: "opaque directory", layers: [][]entry{base, {dir("d"), wh("d/.wh..wh..opq"), file("d/n", "new")}},
			want: []string{"dir d 755", `file d/n 644 "new"`, `file f 644 "low"`}},
		{name: "opaque after its content", layers: [][]entry{base, {file("d/s/n", "new"), file("d/a", "new"), wh("d/.wh..wh..opq")}},
			want: []string{"dir d 755 owner 1:1", `file d/a 644 "new"`, "dir d/s 755", `file d/s/n 644 "new"`, `file f 644 "low"`}},
		{name: "opaque root", layers: [][]entry{base, {wh(".wh..wh..opq"), file("n", "new")}},
			want: []string{`file n 644 "new"`}},
		{name: "a later layer sees neither", layers: [][]entry{base, {wh(".wh.d")}, {file("d/z", "top")}},
			want: []string{"dir d 755", `file d/z 644 "top"`, `file f 644 "low"`}},
		{name: "a hard link outlives the name it was made from",
			layers: [][]entry{{file("a", "data").owner(5, 5), hard("b", "a")}, {wh(".wh.a")}},
			want:   []string{`file b 644 "data" owner 5:5`}},
		{name: "a hard link to a file of a lower layer",
			layers: [][]entry{{file("a", "data").owner(5, 5)}, {hard("b", "a")}, {wh(".wh.a")}},
			want:   []string{`file b 644 "data" owner 5:5`}},
		{name: "marks of AUFS are no files", layers: [][]entry{{file("f", ""), wh(".wh..wh.aufs"), dir(".wh..wh.plnk")}},
			want: []string{`file f 644 ""`}},
		{name: "of nothing", layers: [][]entry{base, {wh("d/.wh.")}}, err: `whiteout "d/.wh." names nothing`},
		{name: "of the directory itself", layers: [][]entry{base, {wh("d/.wh..")}}, err: "names nothing"},
		{name: "of the parent", layers: [][]entry{base, {wh("d/.wh...")}}, err: "names nothing"},
	})
}

func TestUnpackLinks(t *testing.T) {
	runUnpackCases(t, []unpackCase{
		{name: "absolute and escaping symbolic links are content",
			layers: [][]entry{{sym("a", "/etc/passwd"), sym("b", "../../../x"), sym("c", "c")}},
			want:   []string{"sym a -> /etc/passwd", "sym b -> ../../../x", "sym c -> c"}},
		{name: "links among the parents are followed",
			layers: [][]entry{{dir("usr"), dir("usr/lib"), sym("lib", "usr/lib"), file("lib/a", "1")}, {file("lib/b", "2"), sym("usr/abs", "/usr/lib"), file("usr/abs/c", "3")}},
			want:   []string{"sym lib -> usr/lib", "dir usr 755", "sym usr/abs -> /usr/lib", "dir usr/lib 755", `file usr/lib/a 644 "1"`, `file usr/lib/b 644 "2"`, `file usr/lib/c 644 "3"`}},
		{name: "a whiteout through a link",
			layers: [][]entry{{dir("usr"), file("usr/x", ""), file("usr/y", ""), sym("l", "usr")}, {wh("l/.wh.x")}},
			want:   []string{"sym l -> usr", "dir usr 755", `file usr/y 644 ""`}},
		{name: "a dangling link among the parents leads to a new directory",
			layers: [][]entry{{sym("l", "/new/dir"), file("l/f", "x")}},
			want:   []string{"sym l -> /new/dir", "dir new 755", "dir new/dir 755", `file new/dir/f 644 "x"`}},
		{name: "a directory entry replaces a link",
			layers: [][]entry{{dir("t"), sym("l", "t")}, {dir("l"), file("l/f", "x")}},
			want:   []string{"dir l 755", `file l/f 644 "x"`, "dir t 755"}},
		{name: "a loop among the parents",
			layers: [][]entry{{sym("a", "b"), sym("b", "a"), file("a/f", "")}}, err: "too many levels of symbolic links"},
		{name: "a hard link to a symbolic link is one",
			layers: [][]entry{{sym("s", "nowhere"), hard("h", "s")}},
			want:   []string{"sym h -> nowhere", "hard s = h"}},
		{name: "a hard link through a link",
			layers: [][]entry{{dir("t"), file("t/f", "x"), sym("l", "/t"), hard("h", "l/f")}},
			want:   []string{`file h 644 "x"`, "sym l -> /t", "dir t 755", "hard t/f = h"}},
		{name: "a hard link to itself changes nothing",
			layers: [][]entry{{file("f", "x"), hard("f", "f"), hard("./f", "/f")}},
			want:   []string{`file f 644 "x"`}, fixes: Fixes{Absolute: 1}},
		{name: "a hard link that climbs above the root stays in it",
			layers: [][]entry{{file("f", "x"), hard("h", "../../f")}},
			want:   []string{`file f 644 "x"`, "hard h = f"}, fixes: Fixes{Clamped: 1}},
		{name: "a hard link to nothing", layers: [][]entry{{hard("h", "gone")}}, err: `hard link "h": target "gone" does not exist`},
		{name: "a hard link to a directory", layers: [][]entry{{dir("d"), hard("h", "d")}}, err: `hard link "h": target "d" is a directory`},
		{name: "a hard link to the root", layers: [][]entry{{hard("h", "/")}}, err: `hard link "h" has no target`},
		{name: "a hard link that replaces the directory of its target",
			layers: [][]entry{{dir("d"), file("d/f", "x"), hard("d", "d/f")}}, err: `target "d/f" does not exist`},
	})
}

// TestUnpackEscapes tries to reach the directory beside the root.
func TestUnpackEscapes(t *testing.T) {
	a := newArena(t)
	out := "../outside"
	cases := map[string][][]entry{
		"name with dotdot":                       {{file("../outside/f", "x")}},
		"dotdot in the middle":                   {{dir("a"), file("a/../../outside/f", "x")}},
		"absolute name":                          {{file(a.outside+"/f", "x")}},
		"file through a relative link":           {{sym("l", out), file("l/f", "x")}},
		"file through an absolute link":          {{sym("l", a.outside), file("l/f", "x")}},
		"file over a link":                       {{sym("l", out+"/secret"), file("l", "x")}},
		"file over a link of a lower layer":      {{sym("l", a.outside+"/secret")}, {file("l", "x")}},
		"directory over a link":                  {{sym("l", out+"/dir"), dir("l").mode(0o700)}},
		"directory through a link":               {{sym("l", a.outside), dir("l/dir").mode(0o700)}},
		"links through links":                    {{sym("a", "b"), sym("b", ".."), sym("c", "a/outside"), file("c/f", "x")}},
		"link through a link":                    {{sym("l", a.outside), sym("l/s", "x")}},
		"FIFO through a link":                    {{sym("l", a.outside), special(kindFifo, "l/p")}},
		"hard link by dotdot":                    {{hard("h", "../outside/secret")}},
		"hard link by absolute name":             {{hard("h", a.outside+"/secret")}},
		"hard link through a link":               {{sym("l", a.outside), hard("h", "l/secret")}},
		"hard link into a link":                  {{file("f", ""), sym("l", a.outside), hard("l/h", "f")}},
		"hard link to a link, then content":      {{sym("l", a.outside+"/secret"), hard("h", "l"), file("h", "x")}},
		"whiteout by dotdot":                     {{file("f", "")}, {wh("../outside/.wh.secret")}},
		"whiteout through a link":                {{sym("l", a.outside)}, {wh("l/.wh.secret")}},
		"whiteout of dotdot":                     {{file("d/f", "")}, {wh("d/.wh...")}},
		"opaque through a link":                  {{sym("l", a.outside)}, {wh("l/.wh..wh..opq")}},
		"whiteout of a tree with a link":         {{dir("d"), sym("d/l", a.outside)}, {wh(".wh.d")}},
		"replaced tree with a link":              {{dir("d"), sym("d/l", a.outside)}, {file("d", "")}},
		"a link under a directory written":       {{dir("d"), file("d/a", ""), sym("d", a.outside), file("d/f", "x"), dir("d/dir").mode(0o700)}},
		"a link where a directory's time is set": {{dir("d"), dir("d/dir").mode(0o2700)}, {sym("d", a.outside)}},
		"a lower layer's directory replaced":     {{dir("d"), dir("d/dir")}, {sym("d", a.outside), file("d/dir/f", "x")}},
	}
	for name, layers := range cases {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(a.root); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(a.root, 0o700); err != nil {
				t.Fatal(err)
			}
			_, err := Unpack(t.Context(), a.root, blobs(t, layers...), Options{})
			a.check(t)
			if strings.Contains(name, "dotdot") && !strings.HasPrefix(name, "hard") && err == nil {
				t.Error("no error")
			}
			// What a hard link got hold of would be the file outside itself.
			var in, secret unix.Stat_t
			if unix.Stat(filepath.Join(a.outside, "secret"), &secret) != nil {
				t.Fatal("the file outside is gone")
			}
			if unix.Lstat(filepath.Join(a.root, "h"), &in) == nil && in.Ino == secret.Ino {
				t.Error("THIS IS A PATH ESCAPE: a hard link to a file outside")
			}
		})
	}
}

func TestUnpackTimes(t *testing.T) {
	a := newArena(t)
	old := dir("d")
	old.ModTime = time.Unix(-5, 0)
	layers := [][]entry{{dir("."), old, file("d/f", "x"), sym("s", "x"), dir("i"), file("i/j/k", "")}, {file("d/g", "")}}
	u, err := Unpack(t.Context(), a.root, blobs(t, layers...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	const at = " @1700000000.123456789"
	equalLines(t, "tree", describe(t, a.root, u.Owners, true), []string{
		"dir . 755" + at, "dir d 755 @-5.000000000", `file d/f 644 "x"` + at, `file d/g 644 ""` + at,
		"dir i 755" + at, "dir i/j 755 @0.000000000", `file i/j/k 644 ""` + at, "sym s -> x" + at,
	})
}

func TestUnpackXattrs(t *testing.T) {
	a := newArena(t)
	if err := unix.Setxattr(a.root, "user.probe", []byte("x"), 0); err != nil {
		t.Skipf("no extended attributes in the temporary directory: %v", err)
	}
	u, err := Unpack(t.Context(), a.root, blobs(t, []entry{
		file("f", "x").xattr("user.a", "1"),
		file("c", "x").xattr("security.capability", "\x01\x00\x00\x02"),
		dir("d").xattr("user.overlay.opaque", "y"),
		dir("e").xattr("user.b", "2"),
		sym("s", "x").xattr("user.c", "3"),
		special(kindFifo, "p").xattr("user.d", "4"),
	}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	equalLines(t, "tree", describe(t, a.root, u.Owners, false), []string{
		"file c 644 \"x\" security.capability=\"\\x01\\x00\\x00\\x02\"",
		`dir d 755 user.overlay.opaque="y"`, "dir e 755", `file f 644 "x"`,
		`fifo p 644 user.d="4"`, `sym s -> x user.c="3"`,
	})
	for path, want := range map[string]string{"f": "1", "e": "2"} {
		buf := make([]byte, 10)
		name := "user." + map[string]string{"f": "a", "e": "b"}[path]
		n, err := unix.Getxattr(filepath.Join(a.root, path), name, buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("%s of %s is %q (%v), want %q", name, path, buf[:max(n, 0)], err, want)
		}
	}
}

func TestUnpackLarge(t *testing.T) {
	a := newArena(t)
	big := strings.Repeat("0123456789abcdef", 200_000)
	u, err := Unpack(t.Context(), a.root, blobs(t, []entry{file("big", big).mode(0o4711).owner(1, 2), file("edge", big[:smallFile])}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"big": big, "edge": big[:smallFile]} {
		if got, err := os.ReadFile(filepath.Join(a.root, name)); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes (%v), want %d", name, len(got), err, len(want))
		}
	}
	if fi, err := os.Stat(filepath.Join(a.root, "big")); err != nil || fi.Mode() != 0o711|os.ModeSetuid {
		t.Errorf("mode is %v (%v)", fi.Mode(), err)
	}
	if u.Owners["big"].UID != 1 {
		t.Errorf("record is %+v", u.Owners["big"])
	}
}

// A device that is only recorded is packed as the device it was.
func TestKeepDev(t *testing.T) {
	a := newArena(t)
	layers := blobs(t, []entry{
		dir("dev"), special(kindChar, "dev/null").mode(0o666).owner(0, 3), special(kindBlock, "disk").mode(0o600), hard("dev/same", "dev/null"),
	}, []entry{file("disk", "now a file"), special(kindChar, "x").mode(0o644)})
	u, err := Unpack(t.Context(), a.root, layers, Options{KeepDev: true})
	if err != nil {
		t.Fatal(err)
	}
	if u.Devices != 0 {
		t.Errorf("%d devices were left out", u.Devices)
	}
	var got []string
	for tr := tar.NewReader(bytes.NewReader(packed(t, a.root, u.Owners, PackOptions{}))); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%c %s %o %d:%d %d,%d", h.Typeflag, h.Name, h.Mode, h.Uid, h.Gid, h.Devmajor, h.Devminor))
	}
	equalLines(t, "members", got, []string{
		"5 ./ 755 0:0 0,0", "5 dev/ 755 0:0 0,0", "3 dev/null 666 0:3 1,3", "1 dev/same 666 0:3 0,0", "0 disk 644 0:0 0,0", "3 x 644 0:0 1,3",
	})
}
