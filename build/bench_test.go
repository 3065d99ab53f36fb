package build

import (
	"fmt"
	"testing"
)

// BenchmarkRunKey derives the keys of a Dockerfile of 20 RUNs, as each build
// does whose instructions are all in the cache.
func BenchmarkRunKey(b *testing.B) {
	env := make([]string, 20)
	for i := range env {
		env[i] = fmt.Sprintf("VARIABLE%d=/opt/vendor/lib:/usr/local/lib", i)
	}
	for b.Loop() {
		key := "image"
		for i := range 20 {
			var err error
			key, err = stateKey(key, runKey{Op: "RUN", Args: []string{"/bin/sh", "-c", fmt.Sprintf("echo %d > /file", i)}, Env: env, Dir: "/", Force: "seccomp", Platform: "linux/amd64"})
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
