package unpriv

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal makes a pseudo-terminal.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skip(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// A program has the terminal as if there were no container: keys are for it,
// once, and virga waits for what it makes of them.
func TestImageOnTerminal(t *testing.T) {
	if os.Getenv(insideVariable) == t.Name()+"/victim" {
		status, err := RunImage(t.Context(), anImage(newRoot(t), "wait"))
		fmt.Println("status", status.Exit(), err)
		return
	}
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	for _, tt := range []struct {
		name string
		do   func(master *os.File) error
		want string
	}{
		{"interrupt", func(m *os.File) error { _, err := m.Write([]byte{3}); return err }, "interrupt"},
		{"window", func(m *os.File) error {
			return unix.IoctlSetWinsize(int(m.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 20})
		}, "window changed"},
	} {
		master, slave := terminal(t)
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), insideVariable+"="+t.Name()+"/victim")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		slave.Close()
		var seen []string
		for lines := bufio.NewScanner(master); lines.Scan(); {
			line := strings.TrimPrefix(strings.TrimSpace(lines.Text()), "^C")
			if seen = append(seen, line); line == "ready" {
				if err := tt.do(master); err != nil {
					t.Error(err)
				}
			}
			if strings.HasPrefix(line, "status") {
				break
			}
		}
		cmd.Wait()
		if got, want := strings.Join(seen, "\n"), "ready\n"+tt.want+"\nstatus 0 <nil>"; got != want {
			t.Errorf("%s: got %q, want %q", tt.name, got, want)
		}
	}
}
