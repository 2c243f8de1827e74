package verification

import (
	"context"
	"fmt"
	"strings"

	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// maxShown is how many changes of a folder an error names; FolderError holds all.
const maxShown = 50

// FolderError says in what a folder differs from what was signed.
type FolderError struct{ Changes []signing.Change }

// Error names the changes, maxShown of them at most.
func (e *FolderError) Error() string {
	var b strings.Builder
	what := "changes"
	if len(e.Changes) == 1 {
		what = "change"
	}
	fmt.Fprintf(&b, "the folder is not what was signed: %d %s", len(e.Changes), what)
	for i, c := range e.Changes {
		if i == maxShown {
			fmt.Fprintf(&b, "\nand %d more", len(e.Changes)-i)
			break
		}
		b.WriteString("\n" + c.String())
	}
	return b.String()
}

// VerifyFolder verifies that a folder is exactly what was signed: every file,
// mode, link and special file. Only what the signed exclusions leave out, and
// the files in skip (the signature itself), may differ.
func VerifyFolder(ctx context.Context, dir string, docs []Document, skip []string, x Expectation) ([]*Result, error) {
	if len(x.Types) > 0 {
		return nil, trust.Misconfigured("a folder is verified by the statement about its files, not by another attestation")
	}
	t := &target{artifact: DigestArtifact(dir, nil), types: []string{signing.PredicateFolder}, folder: true,
		subjects: func([]sigstore.Subject) error { return nil }} // compared below, in full
	rs, err := t.verify(docs, &x)
	if err != nil {
		return nil, err
	}
	for _, r := range rs {
		if r.Statement == nil {
			return nil, trust.Failure(trust.ReasonWrongPredicate, "%s is no statement about a folder", r.Document)
		}
		signed, err := signing.ReadFolderStatement(*r.Statement)
		if err != nil {
			return nil, err
		}
		f, err := signing.ScanFolder(ctx, dir, signing.FolderOptions{Exclude: signed.Exclude(), Skip: skip})
		if err != nil {
			return nil, err
		}
		changes, modes := signed.Compare(f)
		if len(changes) > 0 {
			return nil, trust.Failure(trust.ReasonWrongSubject, "%w", &FolderError{changes})
		}
		r.Notes = append(r.Notes, fmt.Sprintf("%d files, %d bytes", f.Files(), f.Bytes()))
		if !modes {
			r.Notes = append(r.Notes, "executable bits were not compared: one of the two systems has none")
		}
		if ex := signed.Exclude(); len(ex) > 0 {
			r.Notes = append(r.Notes, "the signer left out "+strings.Join(ex, ", "))
		}
	}
	return rs, nil
}
