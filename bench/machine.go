package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// machine is where it was measured.
type machine struct {
	CPU, Kernel, System, Files string
	Cores                      int
	Memory                     int64
}

func thisMachine(dir string) machine {
	m := machine{Cores: runtime.NumCPU(), CPU: field("/proc/cpuinfo", "model name"), System: strings.Trim(field("/etc/os-release", "PRETTY_NAME"), `"`)}
	var u syscall.Utsname
	if syscall.Uname(&u) == nil {
		var b strings.Builder
		for _, c := range u.Release {
			if c == 0 {
				break
			}
			b.WriteByte(byte(c))
		}
		m.Kernel = b.String()
	}
	var kb int64
	fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kb) // 0 is "not known"
	m.Memory = kb << 10
	if out, err := exec.Command("findmnt", "-n", "-o", "FSTYPE,OPTIONS", "-T", dir).Output(); err == nil {
		m.Files = strings.Join(strings.Fields(string(out)), " ")
	}
	return m
}

// field is the value of a "key: value" or "key=value" line of a file.
func field(file, key string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		i := strings.IndexAny(line, ":=")
		if i > 0 && strings.TrimSpace(line[:i]) == key {
			return strings.TrimSpace(line[i+1:])
		}
	}
	return ""
}

// peers are the packages whose versions a reader wants to know.
var peers = []string{
	"charliecloud-builders", "charliecloud-runtime", "buildah", "podman", "crun", "skopeo", "umoci",
	"docker-registry", "fakeroot", "isal", "pigz", "zstd", "gzip", "tar",
}

func versions(virga string) []string {
	var out []string
	if v, err := exec.Command(virga, "--version").Output(); err == nil {
		out = append(out, strings.TrimSpace(string(v)))
	}
	for _, p := range peers {
		v, err := exec.Command("dpkg-query", "-W", "-f", "${Package} ${Version}", p).Output()
		if err == nil {
			out = append(out, string(v))
		}
	}
	return out
}
