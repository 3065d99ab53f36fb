package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// listConfig describes each field of an image's configuration in one line.
// Fields that say nothing are left out, as are those that no Dockerfile sets.
func listConfig(raw []byte) (map[string]string, error) {
	var c struct {
		Author, OS, Architecture, Variant string
		Config                            map[string]any
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	out := map[string]string{"Platform": fmt.Sprintf("%s/%s%s", c.OS, c.Architecture, c.Variant)}
	if c.Author != "" {
		out["Author"] = fmt.Sprintf("%q", c.Author)
	}
	for _, name := range []string{"Image", "Hostname", "ArgsEscaped"} {
		delete(c.Config, name)
	}
	for name, v := range c.Config {
		switch w := v.(type) {
		case map[string]any:
			if name == "ExposedPorts" || name == "Volumes" {
				v = slices.Sorted(maps.Keys(w))
			}
			if len(w) == 0 {
				continue
			}
		case []any:
			if len(w) == 0 {
				continue
			}
		case nil:
			continue
		default:
			if w == false || w == "" {
				continue
			}
		}
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		out[name] = string(b)
	}
	return out, nil
}
