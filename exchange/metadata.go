package exchange

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"virga/image"
	"virga/internal/inroot"
)

// chMetadata is the part of ch-image's ch/metadata.json (storage format 7)
// that an image configuration can say.
type chMetadata struct {
	Arch       string            `json:"arch"`
	Cmd        []string          `json:"cmd,omitempty"`
	Cwd        string            `json:"cwd"`
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Env        map[string]string `json:"env"`
	History    []image.History   `json:"history"`
	Labels     map[string]string `json:"labels"`
	Shell      []string          `json:"shell"`
	Volumes    []string          `json:"volumes"`
}

// maxMetadata bounds ch/metadata.json.
const maxMetadata = 16 << 20

// importConfig makes the configuration of a tree imported now.
func importConfig(dir, from string, now time.Time) (*image.Config, error) {
	host := image.Host()
	c := &image.Config{
		Created: &now, OS: host.OS, Architecture: host.Arch, Variant: host.Variant,
		History: []image.History{{Created: &now, CreatedBy: "IMPORT " + filepath.Base(from), Comment: "virga"}},
	}
	root, err := inroot.Open(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	b, err := root.ReadFile("ch/metadata.json", maxMetadata)
	if inroot.IsNotExist(err) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ch/metadata.json: %w", err)
	}
	var m chMetadata
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("read ch/metadata.json: %w", err)
	}
	return c, m.apply(c)
}

func (m *chMetadata) apply(c *image.Config) error {
	if m.Arch != "" {
		p, err := image.ParsePlatform(m.Arch)
		if err != nil {
			return fmt.Errorf("read ch/metadata.json: %w", err)
		}
		c.Architecture, c.Variant = p.Arch, p.Variant
	}
	c.Config.WorkingDir, c.Config.Labels, c.Config.Shell = m.Cwd, m.Labels, m.Shell
	c.Config.Cmd, c.Config.Entrypoint = m.Cmd, m.Entrypoint
	for _, k := range slices.Sorted(maps.Keys(m.Env)) {
		c.Config.Env = append(c.Config.Env, k+"="+m.Env[k])
	}
	for _, v := range m.Volumes {
		if c.Config.Volumes == nil {
			c.Config.Volumes = map[string]struct{}{}
		}
		c.Config.Volumes[v] = struct{}{}
	}
	return nil
}

// metadataOf is what ch-image's metadata can say of a configuration.
func metadataOf(c *image.Config) chMetadata {
	m := chMetadata{
		Arch: c.Platform().ArchString(), Cmd: c.Config.Cmd, Cwd: c.Config.WorkingDir, Entrypoint: c.Config.Entrypoint,
		Env: map[string]string{}, History: c.History, Labels: c.Config.Labels, Shell: c.Config.Shell,
		Volumes: slices.Sorted(maps.Keys(c.Config.Volumes)),
	}
	if m.Cwd == "" {
		m.Cwd = "/"
	}
	if m.History == nil {
		m.History = []image.History{}
	}
	if m.Labels == nil {
		m.Labels = map[string]string{}
	}
	if m.Shell == nil {
		m.Shell = []string{"/bin/sh", "-c"}
	}
	if m.Volumes == nil {
		m.Volumes = []string{}
	}
	for _, kv := range c.Config.Env {
		k, v, _ := strings.Cut(kv, "=")
		m.Env[k] = v
	}
	return m
}

// writeMetadata writes the directory ch as members of a tar that goes on.
func writeMetadata(w io.Writer, c *image.Config, when time.Time) error {
	m := metadataOf(c)
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	var env strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m.Env)) {
		fmt.Fprintf(&env, "%s=%s\n", k, m.Env[k])
	}
	tw := tar.NewWriter(w)
	when = when.Truncate(time.Second)
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "ch/", Mode: 0o755, ModTime: when}); err != nil {
		return err
	}
	for _, f := range []struct{ name, body string }{{"ch/environment", env.String()}, {"ch/metadata.json", string(b) + "\n"}} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.body)), ModTime: when}); err != nil {
			return err
		}
		if _, err := io.WriteString(tw, f.body); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// DirConfig is the configuration that ch-image's metadata in a directory
// gives, or one that says nothing.
func DirConfig(dir string) (*image.Config, error) { return importConfig(dir, dir, time.Time{}) }
