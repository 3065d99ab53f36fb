package build

import "testing"

func TestIsSignal(t *testing.T) {
	for s, want := range map[string]bool{
		"SIGTERM": true, "term": true, "sigusr1": true, "9": true, "SIGRTMIN": true, "RTMIN+3": true, "SIGRTMAX-14": true,
		"SIGNOSUCH": false, "": false, "0": false, "RTMIN3": false, "RTMIN+99": false, "RTMAX+1": false, "SIG": false,
	} {
		if got := isSignal(s); got != want {
			t.Errorf("isSignal(%q) = %v", s, got)
		}
	}
}
