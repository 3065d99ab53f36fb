// Package stress drives the real command with several processes on one
// storage directory, kills them at random moments, and looks at what is left.
package stress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"virga/storage"
)

const (
	workers    = 4
	operations = 240 // of all workers
	killOneIn  = 4
)

// TestOperations needs $VIRGA_STRESS, the virga binary, and $REGISTRY with
// tiny:latest; test/bats/stress.bats sets them. $VIRGA_STRESS_SEED repeats a
// run as far as the machine's timing lets it.
func TestOperations(t *testing.T) {
	binary, registry := os.Getenv("VIRGA_STRESS"), os.Getenv("REGISTRY")
	if binary == "" || registry == "" {
		t.Skip("$VIRGA_STRESS does not name the virga binary; use test/bats/run test/bats/stress.bats")
	}
	seed := uint64(20261128)
	if s := os.Getenv("VIRGA_STRESS_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("VIRGA_STRESS_SEED=%d", seed)
	site := &site{t: t, binary: binary, registry: registry, dir: t.TempDir(), kept: map[string]string{}}
	site.prepare()
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			w := &worker{site: site, id: i, random: rand.New(rand.NewPCG(seed, uint64(i)))}
			for n := range operations / workers {
				w.step(n)
			}
		})
	}
	wg.Wait()
	t.Logf("%d killed, %d images to be kept", site.kills, len(site.kept))
	if site.kills < operations/killOneIn/4 || len(site.kept) < 5 {
		t.Error("too little was tried")
	}
	site.verify()
}

// site is the storage directory and what is expected of it.
type site struct {
	t                     *testing.T
	binary, registry, dir string

	mu    sync.Mutex
	kept  map[string]string // image: content of /kept; finished, and nobody deletes it
	kills int
}

func (s *site) storage() string { return filepath.Join(s.dir, "storage") }

func (s *site) command(args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(s.binary, append([]string{"-s", s.storage(), "--plain-http"}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, &stdout, &stderr
}

// prepare fills the registry with images that are different, and share layers.
func (s *site) prepare() {
	for i := range 3 {
		name := fmt.Sprintf("%s/stress/r%d", s.registry, i)
		s.must("build", "-t", name, s.context(name, fmt.Sprintf("FROM %s/tiny\nRUN echo all >/all\nRUN echo %d >/which\n", s.registry, i)))
		s.must("push", name)
		s.must("delete", name)
	}
}

func (s *site) must(args ...string) string {
	s.t.Helper()
	cmd, stdout, stderr := s.command(args...)
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("virga %q: %v\n%s", args, err, stderr)
	}
	return stdout.String()
}

// context is a build context with the Dockerfile.
func (s *site) context(name, dockerfile string) string {
	dir := filepath.Join(s.dir, "ctx", strings.NewReplacer("/", "_", ":", "_").Replace(name))
	err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644),
		os.WriteFile(filepath.Join(dir, "file"), []byte(strings.Repeat("x", 100_000)), 0o644))
	if err != nil {
		s.t.Error(err)
	}
	return dir
}

type worker struct {
	*site
	id     int
	random *rand.Rand
}

// step does one operation, and kills it with some probability.
func (w *worker) step(n int) {
	shared := fmt.Sprintf("stress/i%d", w.random.IntN(4))
	remote := fmt.Sprintf("%s/stress/r%d", w.registry, w.random.IntN(3))
	var args []string
	keep := ""
	switch w.random.IntN(13) {
	case 0, 1, 2:
		k := w.random.IntN(5)
		args = []string{"build", "-t", shared, w.context(fmt.Sprint(shared, w.id), fmt.Sprintf("FROM %s\nRUN echo %d >/a && rm -f /all\nCOPY file /b\nRUN mkdir /d && echo %d >/d/e\nRUN rm -r /d && mkdir /d\n", remote, k, k))}
	case 3, 4:
		keep = fmt.Sprintf("keep/k%d-%d", w.id, n)
		args = []string{"build", "-t", keep, w.context(keep, fmt.Sprintf("FROM %s\nCOPY file /b\nRUN echo %s >/kept\n", remote, keep))}
	case 5, 6:
		args = []string{"pull", remote}
	case 7:
		args = []string{"push", shared, fmt.Sprintf("%s/stress/p%d:%d", w.registry, w.id, n)}
	case 8:
		args = []string{"list"}
	case 9:
		args = []string{"tag", shared, fmt.Sprintf("stress/i%d", w.random.IntN(4))}
	case 10:
		args = []string{"delete", shared}
	case 11:
		args = []string{"run", shared, "--", "ls", "/b"}
	case 12:
		args = []string{"prune"}
		if w.random.IntN(2) == 0 {
			args = append(args, "-a")
		}
	}
	cmd, _, stderr := w.command(args...)
	if err := cmd.Start(); err != nil {
		w.t.Error(err)
		return
	}
	killed := make(chan bool, 1)
	timer := time.AfterFunc(time.Hour, func() { killed <- syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) == nil })
	if w.random.IntN(killOneIn) == 0 {
		timer.Reset(time.Duration(w.random.IntN(150)) * time.Millisecond)
	}
	err := cmd.Wait()
	if !timer.Stop() && <-killed {
		w.mu.Lock()
		w.kills++
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
	switch text := stderr.String(); {
	case err == nil && keep != "":
		w.mu.Lock()
		w.kept[keep] = keep + "\n"
		w.mu.Unlock()
	case err == nil, strings.Contains(text, "not in storage"), strings.Contains(text, "no such image"):
	default:
		w.t.Errorf("virga %q: %v\n%s", args, err, text)
	}
}

// verify looks at what is left: nothing of the dead, nothing half made, and
// every image that was said to be finished.
func (s *site) verify() {
	ctx := context.Background()
	s.must("list") // removes what the dead left
	st, err := storage.Open(ctx, s.storage(), storage.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer st.Close()
	s.check(st, true)
	if _, err := st.Collect(ctx, storage.Policy{}); err != nil {
		s.t.Fatal(err)
	}
	s.check(st, false)
	for name, content := range s.kept {
		if got := s.must("run", name, "--", "cat", "/kept"); got != content {
			s.t.Errorf("image %s holds %q, want %q", name, got, content)
		}
	}
}

// check reports what storage finds wrong with itself. What is derived from
// the records may be behind until they are collected: a process died between.
func (s *site) check(st *storage.Store, derived bool) {
	problems, err := st.Check(context.Background(), storage.CheckOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range problems {
		if derived && (strings.HasPrefix(p.Object, "link ") || strings.HasPrefix(p.Object, "OCI image")) {
			continue
		}
		s.t.Errorf("storage: %s", p)
	}
}
