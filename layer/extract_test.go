package layer

import (
	"bytes"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExtractTar(t *testing.T) {
	whole := []entry{dir("bin"), dir("dev"), file("dev/x", "x"), dir("etc").owner(1, 2), file("etc/.wh.f", "a name")}
	wrapped := []entry{dir("top").mode(0o750).owner(3, 4), dir("top/dev"), file("top/dev/x", ""), dir("top/top"),
		file("top/f", "x").owner(5, 6), hard("top/h", "top/f"), special(kindChar, "top/null")}
	cases := []struct {
		name  string
		in    []entry // already there
		es    []entry
		opts  ExtractOptions
		want  []string
		fixes Fixes
	}{
		{name: "tarbomb", es: whole, opts: ExtractOptions{StripTop: true},
			want: []string{"dir . 755", "dir bin 755", "dir dev 755", "dir etc 755 owner 1:2", `file etc/.wh.f 644 "a name"`}, fixes: Fixes{Devices: 1}},
		{name: "one top directory", es: wrapped, opts: ExtractOptions{StripTop: true},
			want:  []string{"dir . 750 owner 3:4", "dir dev 755", `file f 644 "x" owner 5:6`, "hard h = f", `file null 644 "" device 20000 1:3`, "dir top 755"},
			fixes: Fixes{Devices: 1}},
		{name: "one top directory, kept", es: []entry{dir("top"), dir("top/d")},
			want: []string{"dir . 755", "dir top 755", "dir top/d 755"}},
		{name: "one top directory of a root file system", es: []entry{dir("usr"), file("usr/f", "")}, opts: ExtractOptions{StripTop: true},
			want: []string{"dir . 755", "dir usr 755", `file usr/f 644 ""`}},
		{name: "one top file", es: []entry{file("top", "")}, opts: ExtractOptions{StripTop: true},
			want: []string{"dir . 755", `file top 644 ""`}},
		{name: "into a directory, through a link",
			in:   []entry{dir("srv").owner(9, 9), sym("data", "/srv"), file("srv/old", "old"), file("srv/keep", "k").owner(8, 8)},
			es:   []entry{file("old", "new").owner(1, 1), dir("dev"), file("dev/x", "x"), hard("h", "/old")},
			opts: ExtractOptions{Into: "/data/", KeepDev: true},
			want: []string{"dir . 755", "sym data -> /srv", "dir srv 755", "dir srv/dev 755", `file srv/dev/x 644 "x"`,
				`file srv/h 644 "new" owner 1:1`, `file srv/keep 644 "k"`, "hard srv/old = srv/h"}, fixes: Fixes{Absolute: 1}},
		{name: "into a new directory", es: []entry{dir(".").mode(0o700), file("f", "")}, opts: ExtractOptions{Into: "a/b"},
			want: []string{"dir . 755", "dir a 755", "dir a/b 700", `file a/b/f 644 ""`}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := newArena(t)
			if err := os.Chmod(a.root, 0o755); err != nil {
				t.Fatal(err)
			}
			if c.in != nil {
				if _, err := Unpack(t.Context(), a.root, blobs(t, c.in), Options{}); err != nil {
					t.Fatal(err)
				}
			}
			before := openFiles(t)
			u, err := ExtractTar(t.Context(), a.root, bytes.NewReader(gz(t, archive(t, c.es...))), c.opts)
			a.check(t)
			if err != nil {
				t.Fatal(err)
			}
			got := describe(t, a.root, u.Owners, true)
			for i := range got {
				got[i], _, _ = strings.Cut(got[i], " @")
			}
			equalLines(t, "tree", got, c.want)
			if u.Fixes != c.fixes {
				t.Errorf("fixes are %+v, want %+v", u.Fixes, c.fixes)
			}
			if after := openFiles(t); after > before {
				t.Errorf("%d files open, %d before", after, before)
			}
		})
	}
}

func TestExtractEscapes(t *testing.T) {
	for name, c := range map[string]struct {
		into string
		es   []entry
	}{
		"destination with dotdot":    {"../outside", []entry{file("f", "x")}},
		"destination behind a link":  {"l", []entry{file("f", "x")}},
		"name with dotdot":           {"d", []entry{file("../../outside/f", "x")}},
		"hard link above the target": {"d", []entry{hard("h", "../../outside/secret")}},
		"link in the archive":        {"d", []entry{sym("l", "../../outside"), file("l/f", "x")}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArena(t)
			if err := os.Symlink(a.outside, filepath.Join(a.root, "l")); err != nil {
				t.Fatal(err)
			}
			ExtractTar(t.Context(), a.root, bytes.NewReader(archive(t, c.es...)), ExtractOptions{Into: c.into})
			a.check(t)
		})
	}
}

// TestDecompressFormats reads what other programs wrote: bzip2 and xz of "hello\n".
func TestDecompressFormats(t *testing.T) {
	for c, b64 := range map[Compression]string{
		Bzip2: "QlpoOTFBWSZTWcHAgOIAAAFBAAAQAkSgADDNAMNGKZcXckU4UJDBwIDi",
		Xz:    "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAFaGVsbG8KAAAApWCX8ZT2/eAAAR4GwS+kHR+2830BAAAAAARZWg==",
	} {
		b, err := base64.StdEncoding.DecodeString(b64)
		if err != nil {
			t.Fatal(err)
		}
		zr, got, err := Decompress(bytes.NewReader(b))
		if err != nil || got != c {
			t.Errorf("%v: told as %v (%v)", c, got, err)
			continue
		}
		if s, err := io.ReadAll(zr); err != nil || string(s) != "hello\n" {
			t.Errorf("%v: %q (%v)", c, s, err)
		}
		_, _, err = Decompress(bytes.NewReader(b[:len(b)/2]))
		if zr, _, err2 := Decompress(bytes.NewReader(b[:len(b)/2])); err == nil && err2 == nil {
			if s, err := io.ReadAll(zr); err == nil {
				t.Errorf("%v: half of it is %q", c, s)
			}
		}
	}
}

func TestCopyTree(t *testing.T) {
	src := newArena(t)
	es := []entry{dir(".").mode(0o711), dir("d").mode(0o500), file("d/f", "x").mode(0o400), hard("h", "d/f"),
		sym("s", "../outside/secret"), sym("t", src.outside), special(kindFifo, "p"), file("su", "y").mode(0o4755),
		file("big", strings.Repeat("0123456789", 100_000))}
	if _, err := Unpack(t.Context(), src.root, blobs(t, es), Options{}); err != nil {
		t.Fatal(err)
	}
	// Nothing is widened yet in a directory that is imported.
	for name, mode := range map[string]uint32{"d/f": 0o400, "d": 0o500} {
		if err := unix.Chmod(filepath.Join(src.root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { unix.Chmod(filepath.Join(src.root, "d"), 0o700) })
	dst := newArena(t)
	table, err := CopyTree(t.Context(), dst.root, src.root, CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dst.check(t)
	src.check(t)
	want := describe(t, src.root, nil, true)
	for i, line := range want {
		line = strings.Replace(line, "dir d 500", "dir d 700 perm 500", 1)
		want[i] = strings.Replace(line, `file d/f 400 "x"`, `file d/f 600 "x" perm 400`, 1)
	}
	equalLines(t, "tree", describe(t, dst.root, table, true), want)
}

func TestCopyTreeOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has files of others")
	}
	src, dst := newArena(t), newArena(t)
	if err := os.WriteFile(filepath.Join(src.root, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(src.root, "f"), 1234, 4321); err != nil {
		t.Fatal(err)
	}
	table, err := CopyTree(t.Context(), dst.root, src.root, CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	equalLines(t, "tree", describe(t, dst.root, table, false), []string{`file f 644 "" owner 1234:4321`})
}

func TestExport(t *testing.T) {
	root, owners := sample(t)
	dst := newArena(t)
	if err := Export(t.Context(), dst.root, root, owners, ExportOptions{DropSetID: true}); err != nil {
		t.Fatal(err)
	}
	dst.check(t)
	equalLines(t, "tree", describe(t, dst.root, nil, false), []string{
		"dir d 755", `file d/a 644 "z"`, "hard d/z = d/a", `file d.x 644 ""`, "fifo p 644", "sym s -> ../x",
		`file secret 600 "s"`, `file su 755 "su"`,
	})
}

// TestKeepOwners unpacks as real root does, packs from that, and exports.
func TestKeepOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	a := newArena(t)
	if err := unix.Mknod(filepath.Join(a.root, "probe"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Skipf("needs the right to make devices: %v", err)
	}
	os.Remove(filepath.Join(a.root, "probe"))
	cap2 := "\x01\x00\x00\x02" + strings.Repeat("\x00", 16)
	es := []entry{dir(".").mode(0o711), dir("d").mode(0o500).owner(5, 6), file("d/f", "x").mode(0o4000).owner(7, 8),
		dir("dev"), special(kindChar, "dev/null").mode(0o666).owner(0, 3), file("ping", "").xattr("security.capability", cap2).owner(1, 1),
		sym("s", "x").owner(9, 9)}
	u, err := Unpack(t.Context(), a.root, blobs(t, es), Options{KeepOwners: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Owners) != 0 || u.Fixes != (Fixes{}) {
		t.Errorf("something is not real: %+v", u)
	}
	want := []string{"5 ./ 711 0:0", "5 d/ 500 5:6", `0 d/f 4000 7:8 "x"`, "5 dev/ 755 0:0", "3 dev/null 666 0:3 1,3",
		"0 ping 644 1:1 SCHILY.xattr.security.capability=" + "\"\\x01\\x00\\x00\\x02" + strings.Repeat("\\x00", 16) + `"`, "2 s 777 9:9 -> x"}
	real := packed(t, a.root, nil, PackOptions{KeepOwners: true})
	equalLines(t, "members", listing(t, real), want)

	// The emulation, made real when exported, is the same.
	b, c := newArena(t), newArena(t)
	u, err = Unpack(t.Context(), b.root, blobs(t, es), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Export(t.Context(), c.root, b.root, u.Owners, ExportOptions{Owners: true}); err != nil {
		t.Fatal(err)
	}
	want = slices.DeleteFunc(want, func(l string) bool { return strings.Contains(l, "dev/null") })
	equalLines(t, "members of the export", listing(t, packed(t, c.root, nil, PackOptions{KeepOwners: true})), want)
}
