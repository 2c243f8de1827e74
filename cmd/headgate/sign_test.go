package main

import (
	"os"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"
)

// cmdSSHPub writes the public key of KEY as a line: sshpub KEY FILE
func cmdSSHPub(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	s, err := ssh.ParsePrivateKey(b)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), ssh.MarshalAuthorizedKey(s.PublicKey()), 0o644))
}
