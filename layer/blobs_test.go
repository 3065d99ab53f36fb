package layer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	if _, err := zw.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestUnpackBrokenBlobs(t *testing.T) {
	plain := archive(t, file("a", strings.Repeat("data ", 10000)), file("b", "x"))
	zipped := gz(t, plain)
	flipped := bytes.Clone(zipped)
	flipped[len(flipped)-6] ^= 1
	damaged := bytes.Clone(plain)
	copy(damaged[len(plain)-1024-1024:], "garbage")
	tooEarly := errors.New("network is down")
	cases := []struct {
		name string
		blob Blob
		want string
		is   error
	}{
		{name: "truncated gzip", blob: blob(zipped[:len(zipped)/2]), want: "gzip: compressed data ends early"},
		{name: "gzip without its end", blob: blob(zipped[:len(zipped)-8]), want: "gzip: compressed data ends early"},
		{name: "wrong checksum", blob: blob(flipped), want: "gzip: invalid checksum"},
		{name: "truncated tar", blob: blob(plain[:3000]), want: `read "a": archive ends early`},
		{name: "truncated header", blob: blob(plain[:300]), want: "archive ends early"},
		{name: "damaged header", blob: blob(damaged), want: "archive is damaged after 1 members"},
		{name: "garbage", blob: blob(bytes.Repeat([]byte("garbage!"), 1000)), want: "neither a tar archive nor compressed in a known way"},
		{name: "garbage in gzip", blob: blob(gz(t, bytes.Repeat([]byte("garbage!"), 1000))), want: "neither a tar archive"},
		{name: "only magic", blob: blob(zipped[:5]), want: "gzip: compressed data ends early"},
		{name: "bad gzip header", blob: blob([]byte("\x1f\x8bgarbage garbage")), want: "gzip: "},
		{name: "bad zstd", blob: blob([]byte("\x28\xb5\x2f\xfdgarbage garbage garbage")), want: "zstd: "},
		{name: "cannot be opened", blob: Blob{Digest: "sha256:x", Open: func(context.Context) (io.ReadCloser, error) { return nil, tooEarly }},
			want: "network is down", is: tooEarly},
	}
	wrongID := blob(zipped)
	wrongID.DiffID = digest.FromString("something else")
	cases = append(cases, struct {
		name string
		blob Blob
		want string
		is   error
	}{name: "wrong diff ID", blob: wrongID, want: "not " + wrongID.DiffID.String() + " as the image says"})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := newArena(t)
			good := blob(archive(t, file("g", "")))
			_, err := Unpack(t.Context(), a.root, []Blob{good, c.blob, good}, Options{})
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "unpack layer "+c.blob.Digest.String()) {
				t.Errorf("error is %q, want one with the layer's digest and %q", err, c.want)
			}
			if strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("more than one line: %q", err)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("errors.Is does not know the cause of %v", err)
			}
		})
	}
}

// TestSecondOpinion: data that our decoder finds corrupt are read again, by
// the other one, from where the first one stopped.
func TestSecondOpinion(t *testing.T) {
	plain := archive(t, file("big", strings.Repeat("0123456789abcdef", 100_000)), file("a", "x"))
	good := gz(t, plain)
	bad := bytes.Clone(good)
	bad[len(bad)-7] ^= 1 // the checksum, after everything has been decoded
	reads := 0
	b := Blob{Digest: "sha256:x", DiffID: digest.FromBytes(plain), Open: func(context.Context) (io.ReadCloser, error) {
		reads++
		return io.NopCloser(bytes.NewReader([][]byte{bad, good}[reads-1])), nil
	}}
	a := newArena(t)
	u, err := Unpack(t.Context(), a.root, []Blob{b}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if reads != 2 || u.Size != int64(len(plain)) {
		t.Errorf("%d reads, %d bytes", reads, u.Size)
	}
}

func TestUnpackDigests(t *testing.T) {
	plain := archive(t, file("a", "x"))
	padded := append(bytes.Clone(plain), make([]byte, 10*512)...)
	trailing := append(bytes.Clone(plain), "what is this?"...)
	members := append(gz(t, plain[:700]), gz(t, plain[700:])...)
	var a Blob
	for name, c := range map[string]struct{ compressed, plain []byte }{
		"plain":                   {plain, plain},
		"padded":                  {padded, padded},
		"bytes after the archive": {trailing, trailing},
		"gzip":                    {gz(t, padded), padded},
		"several gzip members":    {members, plain},
		"garbage after gzip":      {append(gz(t, plain), "\x00\x00garbage"...), plain},
		"no end of archive":       {plain[:len(plain)-1024], plain[:len(plain)-1024]},
	} {
		t.Run(name, func(t *testing.T) {
			a = blob(c.compressed)
			a.DiffID = digest.FromBytes(c.plain)
			a.MediaType = "application/vnd.oci.image.layer.v1.tar+zstd" // not what it is
			root := newArena(t).root
			u, err := Unpack(t.Context(), root, []Blob{a}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if u.DiffIDs[0] != a.DiffID || u.Size != int64(len(c.plain)) {
				t.Errorf("diff ID %s, size %d", u.DiffIDs[0], u.Size)
			}
			equalLines(t, "tree", describe(t, root, nil, false), []string{`file a 644 "x"`})
		})
	}
}

func TestUnpackCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := Blob{Digest: "sha256:slow", Open: func(context.Context) (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() {
			w.Write(archive(t, file("a", "x"))[:1500])
			cancel() // and never another byte
		}()
		return r, nil
	}}
	_, err := Unpack(ctx, newArena(t).root, []Blob{b}, Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

func TestUnpackProgress(t *testing.T) {
	b := blob(gz(t, archive(t, file("a", strings.Repeat("x", 1<<20)))))
	var p countProgress
	if _, err := Unpack(t.Context(), newArena(t).root, []Blob{b}, Options{Progress: &p}); err != nil {
		t.Fatal(err)
	}
	if int64(p) != b.Size {
		t.Errorf("progress of %d bytes, want %d", p, b.Size)
	}
}

type countProgress int64

func (p *countProgress) Unpacked(_ digest.Digest, n int64) { *p += countProgress(n) }

// TestUnpackSparse reads what GNU tar makes of a file with holes, in each of
// its formats.
func TestUnpackSparse(t *testing.T) {
	src := t.TempDir()
	f, err := os.Create(filepath.Join(src, "holes"))
	if err != nil {
		t.Fatal(err)
	}
	const size = 3 << 20
	for _, off := range []int64{1 << 20, 2<<20 + 1000, size - 1} {
		if _, err := f.WriteAt([]byte("data"), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"--format=gnu", "--format=posix --sparse-version=0.0", "--format=posix --sparse-version=0.1", "--format=posix --sparse-version=1.0"} {
		args := append(strings.Fields(format), "-C", src, "-S", "-c", "holes")
		layer, err := exec.CommandContext(t.Context(), "tar", args...).Output()
		if err != nil {
			t.Skipf("GNU tar: %v", err)
		}
		if len(layer) > size/2 {
			t.Skip("the file system has no holes")
		}
		a := newArena(t)
		if _, err := Unpack(t.Context(), a.root, []Blob{blob(layer)}, Options{}); err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		path := filepath.Join(a.root, "holes")
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: content differs (%v)", format, err)
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Blocks*512 > size/2 {
			t.Errorf("%s: %d bytes on disk (%v), the holes are filled", format, st.Blocks*512, err)
		}
		// And copied, the holes are still there.
		b := newArena(t)
		if _, err := CopyTree(t.Context(), b.root, a.root, CopyOptions{}); err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(b.root, "holes")
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: content of the copy differs (%v)", format, err)
		}
		if err := unix.Stat(path, &st); err != nil || st.Blocks*512 > size/2 {
			t.Errorf("%s: %d bytes of the copy on disk (%v), the holes are filled", format, st.Blocks*512, err)
		}
	}
	if _, err := newMember(&tar.Header{Typeflag: tar.TypeGNUSparse, Name: "huge", Size: 1 << 60}, &Fixes{}); err == nil {
		t.Error("a sparse file of an exbibyte is accepted")
	}
}
