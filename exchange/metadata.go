package exchange

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"virga/image"
	"virga/internal/inroot"
)

// chMetadata is the part of ch-image's ch/metadata.json (storage format 7)
// that an image configuration can say.
type chMetadata struct {
	Arch    string            `json:"arch"`
	Cwd     string            `json:"cwd"`
	Env     map[string]string `json:"env"`
	Labels  map[string]string `json:"labels"`
	Shell   []string          `json:"shell"`
	Volumes []string          `json:"volumes"`
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
