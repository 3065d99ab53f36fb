package main

import (
	"context"
	"os"

	"virga/unpriv"
)

// enter runs this command line again in namespaces. In the outer process it
// returns done and, as a statusError, how the inner one ended. $USER is set
// for the inner one, where the effective user is another: it names the
// storage directory.
func (env *environment) enter(ctx context.Context, e unpriv.Entry) (done bool, err error) {
	if !unpriv.Entered() {
		name, err := env.userName()
		if err != nil {
			return true, err
		}
		if err := os.Setenv("USER", name); err != nil {
			return true, err
		}
	}
	done, st, err := unpriv.Enter(ctx, e)
	if err == nil && done && st.Exit() != 0 {
		err = &statusError{code: st.Exit()}
	}
	return done, err
}
