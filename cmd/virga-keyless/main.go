// Virga-keyless verifies one keyless signature for virga: a trust.KeylessRequest
// in JSON on standard input, a trust.KeylessAnswer on standard output. It is not
// for people. Without an answer, for whatever reason, the signature is not good.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"virga/keyless"
	"virga/trust"
)

// maxRequest bounds what is read: a signature and a trusted root, in base64.
const maxRequest = 8 << 20

func main() {
	var r trust.KeylessRequest
	if err := json.NewDecoder(io.LimitReader(os.Stdin, maxRequest)).Decode(&r); err != nil {
		fmt.Fprintln(os.Stderr, "virga-keyless: virga runs this program:", err)
		os.Exit(2)
	}
	if err := json.NewEncoder(os.Stdout).Encode(keyless.Answer(&r)); err != nil {
		fmt.Fprintln(os.Stderr, "virga-keyless:", err)
		os.Exit(1)
	}
}
