package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"virga/fakeroot"
	"virga/parser"
)

// rsyncModes are the options that the four modes stand for (ch-image's
// manual, RSYNC).
var rsyncModes = map[byte][]string{
	'm': {"-@=-1", "-AHSXpr"},
	'l': {"-@=-1", "-AHSXpr", "-l", "--safe-links"},
	'u': {"-@=-1", "-AHSXpr", "-l", "--copy-unsafe-links"},
	'z': {},
}

// rsyncForbidden are options that would do something else than copy from the
// context into the image.
var rsyncForbidden = []string{"--daemon", "-n", "--dry-run", "--remove-source-files", "-K", "--keep-dirlinks", "-e", "--rsh", "--rsync-path"}

// rsyncKey is what an RSYNC depends on besides the state below it.
type rsyncKey struct {
	Op            string
	Args, Content []string
	Dest          string
}

// runRsync copies from the context with the host's rsync(1).
func (s *stage) runRsync(ctx context.Context, in *parser.Rsync, step *Step) error {
	from, err := s.origin(ctx, "")
	if err != nil {
		return err
	}
	if from.src == nil {
		return errNoContext
	}
	rsync, err := exec.LookPath("rsync")
	if err != nil {
		return errors.New("rsync is not installed on this host")
	}
	args := slices.Clone(rsyncModes[in.Mode])
	for _, w := range in.Options {
		name, _, _ := strings.Cut(w.Text, "=")
		if slices.Contains(rsyncForbidden, name) || strings.HasSuffix(name, "-from") {
			return fmt.Errorf("rsync option %s is not allowed in a build", w.Text)
		}
		args = append(args, w.Text)
	}
	key := rsyncKey{Op: "RSYNC", Args: args, Dest: workdir(s.set.WorkingDir, in.Dest.Text)}
	if strings.HasSuffix(in.Dest.Text, "/") && key.Dest != "/" {
		key.Dest += "/"
	}
	var sources []string
	return s.apply(ctx, op{
		step: step, text: in.String(),
		what: func(ctx context.Context) (any, error) {
			for _, w := range in.Sources {
				names, sum, err := from.src.rsyncSource(ctx, w.Text)
				if err != nil {
					return nil, err
				}
				sources = append(sources, names...)
				key.Content = append(key.Content, sum)
			}
			return key, nil
		},
		do: func(ctx context.Context, snap *snapshot) (fakeroot.Table, error) {
			return s.rsync(ctx, rsync, append(args, sources...), key.Dest, snap, s.b.Output(*step))
		},
	})
}

// rsyncSource is the names, relative to the context, that one argument means,
// and the digest of what they hold. A final slash, which rsync minds, stays.
func (s *source) rsyncSource(ctx context.Context, arg string) ([]string, string, error) {
	if strings.Contains(arg, ":") {
		return nil, "", fmt.Errorf("source %q: SSH and rsync transports are not supported", arg)
	}
	matches, err := s.find(ctx, arg, filter{})
	if err != nil {
		return nil, "", err
	}
	sum, err := s.digest(ctx, matches)
	var names []string
	for _, m := range matches {
		name := "./" + m.items[0].src
		if strings.HasSuffix(arg, "/") {
			name += "/"
		}
		names = append(names, name)
	}
	return names, fmt.Sprintf("%x %q", sum, names), err
}

// rsync runs the program with the context as its directory. The destination is
// resolved inside the image first: rsync would follow its links on the host.
func (s *stage) rsync(ctx context.Context, program string, args []string, dest string, snap *snapshot, out io.Writer) (fakeroot.Table, error) {
	c := &copier{dst: snap.root, real: s.b.Chroot, placed: fakeroot.Table{}}
	parent, err := c.ensureDir(path.Dir(strings.TrimSuffix(dest, "/")))
	if err != nil {
		return nil, err
	}
	p, err := snap.root.Resolve(path.Join(parent, path.Base(dest)), true, nil)
	if err != nil {
		return nil, err
	}
	target := filepath.Join(snap.root.Name(), p.Path)
	p.Close()
	if strings.HasSuffix(dest, "/") {
		target += "/"
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, append(append([]string{}, args...), target)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.b.Context.Name(), out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, oneLine(stderr.String(), 300))
	}
	return c.placed, nil
}
