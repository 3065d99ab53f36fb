package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"virga/image"
	"virga/internal/inroot"
)

// environ is the program's environment: the caller's, the image's ENV over
// it, and then --env, --env-file, --set-env and --unset-env in the order
// given. TMPDIR is not passed on: the host's is /tmp inside.
func (o *runOptions) environ(env *environment, c *image.RunConfig) ([]string, error) {
	out := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "TMPDIR=") })
	out = image.SetAll(out, c.Env)
	if o.home {
		out = image.Setenv(out, "HOME", path.Join("/home", env.getenv("USER")))
	}
	for _, v := range o.vars {
		var err error
		if out, err = o.change(env, c, out, v); err != nil {
			return nil, err
		}
	}
	if p, ok := image.Getenv(out, "PATH"); !ok || !slices.Contains(strings.Split(p, ":"), "/bin") {
		out = image.Setenv(out, "PATH", strings.TrimPrefix(p+":/bin", ":"))
	}
	return out, nil
}

// change applies one of the options.
func (o *runOptions) change(env *environment, c *image.RunConfig, out []string, v orderedOption) ([]string, error) {
	switch {
	case v.name == "unset-env":
		if _, err := path.Match(v.value, ""); err != nil {
			return nil, usagef("run: --unset-env %q: %v", v.value, err)
		}
		return slices.DeleteFunc(out, func(kv string) bool {
			k, _, _ := strings.Cut(kv, "=")
			ok, _ := path.Match(v.value, k) // checked above
			return ok
		}), nil
	case v.name == "set-env" && v.value == "":
		return image.SetAll(out, c.Env), nil
	case v.name == "env-file", v.name == "set-env" && !strings.Contains(v.value, "="):
		list, err := readEnvFile(env.abs(v.value))
		return image.SetAll(out, list), err
	case strings.Contains(v.value, "="):
		return image.SetAll(out, []string{v.value}), nil
	}
	if val, ok := env.lookupEnv(v.value); ok {
		return image.Setenv(out, v.value, val), nil
	}
	return out, nil
}

// readEnvFile reads K=V lines; a pair of single quotes around the value is
// dropped, empty lines and lines that start with # are skipped.
func readEnvFile(name string) ([]string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read environment file: %w", err)
	}
	var out []string
	n := 0
	for line := range strings.SplitSeq(string(b), "\n") {
		n++
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("environment file %q: line %d is not K=V", name, n)
		}
		if len(v) >= 2 && v[0] == '\'' && v[len(v)-1] == '\'' {
			v = v[1 : len(v)-1]
		}
		out = append(out, k+"="+v)
	}
	return out, nil
}

// maxAccounts bounds passwd and group of an image.
const maxAccounts = 16 << 20

// accountFiles are the image's passwd and group with a line for the caller,
// so that programs find the name of their user.
func accountFiles(env *environment, lower []string, u specs.User) map[string][]byte {
	home := env.getenv("HOME")
	if home == "" || strings.ContainsAny(home, ":\n") {
		home = "/"
	}
	name := env.getenv("USER")
	out := map[string][]byte{}
	for file, line := range map[string]string{
		"/etc/passwd": fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", name, u.UID, u.GID, home),
		"/etc/group":  fmt.Sprintf("%s:x:%d:\n", name, u.GID),
	} {
		id := u.UID
		if file == "/etc/group" {
			id = u.GID
		}
		if text, ok := withAccount(lower, file, line, id); ok {
			out[file] = text
		}
	}
	return out
}

// withAccount adds line to the image's file unless the id is there already.
func withAccount(lower []string, file, line string, id uint32) ([]byte, bool) {
	for _, dir := range lower {
		root, err := inroot.Open(dir)
		if err != nil {
			return nil, false
		}
		text, err := root.ReadFile(file, maxAccounts)
		root.Close()
		if inroot.IsNotExist(err) {
			continue
		}
		if err != nil || hasID(text, id) {
			return nil, false
		}
		if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
			text = append(text, '\n')
		}
		return append(text, line...), true
	}
	return nil, false
}

func hasID(text []byte, id uint32) bool {
	for line := range strings.SplitSeq(string(text), "\n") {
		if f := strings.Split(line, ":"); len(f) > 2 && f[2] == strconv.FormatUint(uint64(id), 10) {
			return true
		}
	}
	return false
}
