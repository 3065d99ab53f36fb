package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"virga/emulate"
	"virga/fakeroot"
	"virga/image"
	"virga/parser"
	"virga/unpriv"
)

// runKey is what a RUN depends on besides the state below it.
type runKey struct {
	Op       string
	Args     []string
	Script   string `json:",omitempty"` // executable here-document
	Env      []string
	Dir      string
	User     string
	Network  string
	Force    string
	Binds    []specs.Mount `json:",omitempty"`
	Mounts   []mountKey    `json:",omitempty"`
	Platform string
}

// RunError says that a RUN's program failed.
type RunError struct {
	Args   []string
	Status unpriv.Status
	Forced bool // root was emulated
}

func (e *RunError) Error() string {
	return fmt.Sprintf("command failed with %v: %s", e.Status, oneLine(strings.Join(e.Args, " "), 200))
}

// Hint names a likely cause.
func (e *RunError) Hint() string {
	if !e.Forced && e.Status.Code != 0 {
		return "root is not emulated (--force=none); if the command changes owners or installs packages, leave that option out"
	}
	return ""
}

func (s *stage) runRun(ctx context.Context, in *parser.Run, step *Step) (err error) {
	if err := unsupported(in); err != nil {
		return err
	}
	mounts, err := s.newRunMounts(ctx, in.Mounts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mounts.close(ctx)) }()
	key := runKey{
		Op: "RUN", Env: s.scope.runEnv(s.set.Env), Dir: s.set.WorkingDir, User: s.set.User, Network: in.Network,
		Force: s.b.Force.Mode.String(), Binds: s.b.Binds, Platform: s.b.Platform.String(),
	}
	key.Args, key.Script = s.commandOf(in)
	key.Args, _ = s.inject(in, key.Args)
	o := op{
		step: step, text: historyText(&s.set, in), stubs: true,
		what: func(ctx context.Context) (any, error) {
			key.Mounts, err = mounts.keys(ctx, true)
			return key, err
		},
		do: func(ctx context.Context, snap *snapshot) (_ fakeroot.Table, err error) {
			defer func() { err = errors.Join(err, mounts.release()) }()
			if err := mounts.prepare(ctx, snap); err != nil {
				return nil, err
			}
			err = s.execute(ctx, key, snap, mounts, s.b.Output(*step))
			if failed(err) {
				err = s.keep(ctx, err, key, in.String())
			}
			return nil, err
		},
	}
	if len(in.Mounts) > 0 && !mounts.fromContext() {
		alias := key
		if alias.Mounts, err = mounts.keys(ctx, false); err != nil {
			return err
		}
		o.alias = alias
	}
	return s.apply(ctx, o)
}

// failed reports whether the command itself is what is wrong.
func failed(err error) bool {
	var run *RunError
	var exec *unpriv.ExecError
	return errors.As(err, &run) || errors.As(err, &exec)
}

// unsupported refuses what cannot be honoured, rather than leave it out.
func unsupported(in *parser.Run) error {
	switch {
	case len(in.Devices) > 0:
		return errors.New("--device is not supported: devices of the host are not part of a build")
	case in.Security == "insecure":
		return errors.New("--security=insecure is not supported: there is no privilege to give")
	}
	return nil
}

// commandOf is the argument list of a RUN, and the text of its script if it
// is one executable here-document.
func (s *stage) commandOf(in *parser.Run) (args []string, script string) {
	if in.JSON {
		return in.Args, ""
	}
	text, file := in.Script()
	if file {
		return []string{scriptPath}, text
	}
	return append(slices.Clone(s.set.shell()), text), ""
}

// scriptPath is where an executable here-document is mounted.
const scriptPath = "/dev/virga-script"

// inject applies --force-cmd.
func (s *stage) inject(in *parser.Run, args []string) ([]string, bool) {
	inj := s.b.Force.Inject
	if len(inj) == 0 || len(args) == 0 {
		return args, false
	}
	if in.JSON {
		return fakeroot.InjectExec(args, inj)
	}
	text, changed := fakeroot.InjectShell(args[len(args)-1], inj)
	out := slices.Clone(args)
	out[len(out)-1] = text
	return out, changed
}

// execute runs the command in the snapshot.
func (s *stage) execute(ctx context.Context, key runKey, snap *snapshot, mounts *runMounts, out io.Writer) error {
	user, err := lookupUser(snap.root, key.User)
	if err != nil {
		return err
	}
	env := s.scope.passEnv(key.Env, s.b.HostEnv)
	if _, ok := image.Getenv(env, "HOME"); !ok {
		env = append(env, "HOME="+user.home)
	}
	binds := key.Binds
	if sock, ok := image.Getenv(env, "SSH_AUTH_SOCK"); ok && path.IsAbs(sock) {
		if m, err := unpriv.Bind(sock, sock, false, true); err == nil { // an agent that has gone is nobody's error
			binds = append(slices.Clip(binds), m)
		}
	}
	env = image.SetAll(env, mounts.env)
	c := unpriv.Container{
		Root: snap.root.Name(), Chroot: s.b.Chroot, NoNetwork: key.Network == "none",
		Process: specs.Process{Args: key.Args, Env: env, Cwd: path.Join("/", key.Dir), User: specs.User{UID: user.uid, GID: user.gid, AdditionalGids: user.groups}},
		Mounts:  slices.Concat(unpriv.BuildMounts(), binds, mounts.mounts),
		Stdin:   s.b.Stdin, Stdout: out, Stderr: out,
	}
	if key.Script != "" {
		m, err := s.scriptMount(snap, key.Script)
		if err != nil {
			return err
		}
		c.Mounts = append(c.Mounts, m)
	}
	if s.b.Force.Mode == fakeroot.ModeFakeroot && !s.b.Chroot {
		if err := s.wrap(ctx, &c, snap); err != nil {
			return err
		}
	}
	st, err := s.b.emulated(ctx, c, snap, fakeroot.Credentials{UID: user.uid, GID: user.gid, Groups: user.groups})
	if err != nil {
		return err
	}
	if st != (unpriv.Status{}) {
		return &RunError{Args: key.Args, Status: st, Forced: s.b.Force.Mode != fakeroot.ModeNone || s.b.Chroot}
	}
	return nil
}

func (s *stage) scriptMount(snap *snapshot, script string) (specs.Mount, error) {
	file := snap.path("script")
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		return specs.Mount{}, err
	}
	m, err := unpriv.Bind(file, scriptPath, true, true)
	return m, err
}

// emulated runs c with root emulated as asked for, and leaves in snap the
// records of what was changed.
func (b *builder) emulated(ctx context.Context, c unpriv.Container, snap *snapshot, user fakeroot.Credentials) (unpriv.Status, error) {
	snap.table = snap.owners
	if b.Chroot || !b.Force.Mode.Filtered() {
		return unpriv.Run(ctx, c)
	}
	b.mu.Lock()
	b.runs++
	b.mu.Unlock()
	o := emulate.Options{
		Mode: b.Force.Mode, Level: b.level(), Owners: snap.owners, Changed: snap.path("upper"), User: user, Log: b.log,
	}
	if snap.plain != nil {
		o.Changed, o.InPlace = snap.plain.dir, true
	}
	st, table, err := emulate.Run(ctx, c, o)
	if table != nil {
		snap.table = table
	}
	return st, err
}

// level is how well this kernel lets root be emulated; found out once, and
// told if it is not the best.
func (b *builder) level() fakeroot.Level {
	b.levelOnce.Do(func() { b.levelFound = emulate.Level(b.log) })
	return b.levelFound
}
