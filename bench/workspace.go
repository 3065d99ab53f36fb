package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// workspace is where tools work: directories, registries, environment.
type workspace struct {
	dir   string // on disk
	fast  string // in memory
	vars  map[string]string
	group string // control group of what is measured; "" is none
	stops []func()
}

// toolPath holds Debian's programs and nothing that a user has installed: the
// peers are Debian's, with Debian's interpreters.
const toolPath = "/usr/bin:/bin:/usr/sbin:/sbin"

func newWorkspace(ctx context.Context, dir, cache, virga, self string, quick bool) (*workspace, error) {
	fast := filepath.Join("/dev/shm", "virga-bench-"+strconv.Itoa(os.Getuid()))
	w := &workspace{dir: dir, fast: fast, group: ownGroup()}
	w.vars = map[string]string{
		"W": dir, "FAST": fast, "CACHE": cache, "VIRGA": virga, "BENCH": self,
		"PATH": toolPath, "LANG": "C.UTF-8", "HOME": dir + "/home", "TMPDIR": dir + "/tmp", "USER": userName(),
		"VIRGA_STORAGE": dir + "/virga", "CH_IMAGE_STORAGE": dir + "/ch", "XDG_RUNTIME_DIR": dir + "/xdg",
		"BUILDAH_ISOLATION": "chroot",
	}
	size := func(name string, full, small int) {
		if quick {
			full = small
		}
		w.vars[name] = strconv.Itoa(full)
	}
	size("FILES", 50000, 500)
	size("IMAGES", 100, 5)
	size("RUNS", 20, 3)
	size("SPIN", 600, 20) // megabytes that a CPU-bound RUN digests
	for _, d := range []string{dir + "/home/.config/containers", dir + "/tmp", dir + "/xdg", fast} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	if err := w.configurePeers(); err != nil {
		return nil, err
	}
	// TLS, as ch-image speaks nothing else. No tool is asked to check it.
	if err := w.do(ctx, "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=127.0.0.1 -keyout certificate.pem -out cert && cat cert >>certificate.pem", 0); err != nil {
		return w, err
	}
	var err error
	if w.vars["REG"], err = w.registry(cache+"/registry", true); err != nil {
		return nil, err
	}
	if w.vars["EMPTY"], err = w.registry(fast+"/pushed", false); err != nil {
		return nil, err
	}
	return w, nil
}

// configurePeers writes the settings of podman and buildah: the kernel's own
// overlay, which is the fastest driver they have.
func (w *workspace) configurePeers() error {
	conf := w.dir + "/home/.config/containers/"
	runtime := "crun"
	if _, err := os.Stat("/sys/fs/cgroup/unified"); err == nil {
		runtime = "runc" // crun refuses control groups of both versions at once
	}
	files := map[string]string{
		"storage.conf":    fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", w.dir+"/containers", w.dir+"/xdg/run"),
		"registries.conf": "unqualified-search-registries = []\nshort-name-mode = \"disabled\"\n",
		"policy.json":     `{"default": [{"type": "insecureAcceptAnything"}]}`,
		"containers.conf": "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nruntime = \"" + runtime + "\"\n[containers]\nlog_driver = \"none\"\n",
	}
	// ch-image's cache commits to a Git repository.
	files["../../.gitconfig"] = "[user]\nname = bench\nemail = bench@localhost\n"
	for name, text := range files {
		if err := os.WriteFile(conf+name, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// registry starts a docker-registry on a free port and returns its address.
// It writes below root, which may be emptied between runs: nothing is
// remembered in memory.
func (w *workspace) registry(root string, readonly bool) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(root, 0o700); err != nil && !readonly {
		return "", err
	}
	file := filepath.Join(w.dir, "registry-"+strconv.FormatBool(readonly)+".yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"+
		"storage: {filesystem: {rootdirectory: %q}, maintenance: {readonly: {enabled: %v}, uploadpurging: {enabled: false}}}\n"+
		"http: {addr: %q, tls: {certificate: %[4]q, key: %[4]q}}\n", root, readonly, addr, w.dir+"/certificate.pem")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", err
	}
	c := exec.Command(w.find("docker-registry"), "serve", file)
	if w.group != "" { // its time is nobody's
		c = exec.Command("/bin/sh", "-c", `echo $$ >"$0" && exec "$1" serve "$2"`, filepath.Join(filepath.Dir(w.group), "other", "cgroup.procs"), c.Path, file)
	}
	c.Dir, c.Env, c.Stdout, c.Stderr = w.dir, w.environ(), io.Discard, io.Discard
	if err := c.Start(); err != nil {
		return "", fmt.Errorf("start docker-registry: %w", err)
	}
	w.stops = append(w.stops, func() {
		c.Process.Kill()
		c.Wait() // killed: its status says so
	})
	for range 100 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return addr, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return "", fmt.Errorf("docker-registry does not answer at %s", addr)
}

// close stops the registries and removes what tools have left.
func (w *workspace) close() {
	for _, stop := range w.stops {
		stop()
	}
	for _, dir := range []string{w.dir, w.fast} {
		removeAll(w, dir)
	}
}

// removeAll removes a directory with files of subordinate users in it.
func removeAll(w *workspace, dir string) {
	c := exec.Command(w.find("chmod"), "-R", "u+rwX", dir)
	c.Run() // whatever belongs to others is for the next two
	if os.RemoveAll(dir) == nil {
		return
	}
	c = exec.Command(w.find("buildah"), "unshare", "rm", "-rf", dir)
	c.Env = w.environ()
	c.Run() // at worst, something is left
}

// userName is by what /etc/subuid knows the user.
func userName() string {
	u, err := user.Current()
	if err != nil {
		return strconv.Itoa(os.Getuid())
	}
	return u.Username
}

func (w *workspace) variable(name string) string {
	if v, ok := w.vars[name]; ok {
		return v
	}
	return "$" + name // the shell's
}

func (w *workspace) environ() []string {
	var env []string
	for k, v := range w.vars {
		env = append(env, k+"="+v)
	}
	return env
}

// find is the program's file.
func (w *workspace) find(name string) string {
	for dir := range strings.SplitSeq(toolPath, ":") {
		if fi, err := os.Stat(filepath.Join(dir, name)); err == nil && fi.Mode()&0o111 != 0 {
			return filepath.Join(dir, name)
		}
	}
	return name
}

// ownGroup is the control group that the harness was put into, if it is one of
// its own: its directory has the sibling "other". bench/run makes both.
func ownGroup() string {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 || filepath.Base(f[2]) != "measured" {
			continue
		}
		for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/cpu,cpuacct"} {
			dir := filepath.Join(mount, f[2])
			if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "other")); err == nil {
				return dir
			}
		}
	}
	return ""
}

// groupCPU is the time in seconds that the group has used, 0 without one.
func (w *workspace) groupCPU() float64 {
	if w.group == "" {
		return 0
	}
	if text, err := os.ReadFile(w.group + "/cpuacct.usage"); err == nil { // version 1
		ns, _ := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
		return ns / 1e9
	}
	text, _ := os.ReadFile(w.group + "/cpu.stat")
	for line := range strings.Lines(string(text)) {
		if us, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(us), 64)
			return n / 1e6
		}
	}
	return 0
}
