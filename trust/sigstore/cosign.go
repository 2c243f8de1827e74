package sigstore

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/strictjson"
)

// CosignLog is an entry of log v1 with its promise, as cosign before version 3
// writes it: in the annotation dev.sigstore.cosign/bundle of an image's signature,
// and as rekorBundle in files.
type CosignLog struct {
	SET     string `json:"SignedEntryTimestamp"`
	Payload struct {
		Body  string `json:"body"`
		Time  int64  `json:"integratedTime"`
		Index int64  `json:"logIndex"`
		LogID string `json:"logID"`
	} `json:"Payload"`
}

// Entry is the entry as a Sigstore bundle has it, ready to be written as JSON.
// Nothing is verified here; an error is about what cannot be read.
func (l *CosignLog) Entry() (map[string]any, error) {
	body, err := base64.StdEncoding.Strict().DecodeString(l.Payload.Body)
	if err != nil {
		return nil, fmt.Errorf("log entry: %w", err)
	}
	id, err := hex.DecodeString(l.Payload.LogID)
	if err != nil {
		return nil, fmt.Errorf("log id: %w", err)
	}
	set, err := base64.StdEncoding.Strict().DecodeString(l.SET)
	if err != nil {
		return nil, fmt.Errorf("signed entry timestamp: %w", err)
	}
	var kind struct {
		Kind    string `json:"kind"`
		Version string `json:"apiVersion"`
	}
	if err := strictjson.Unmarshal(body, &kind); err != nil {
		return nil, fmt.Errorf("log entry: %w", err)
	}
	return map[string]any{
		"logIndex": strconv.FormatInt(l.Payload.Index, 10), "logId": map[string]any{"keyId": id},
		"kindVersion":    map[string]any{"kind": kind.Kind, "version": kind.Version},
		"integratedTime": strconv.FormatInt(l.Payload.Time, 10), "inclusionPromise": map[string]any{"signedEntryTimestamp": set}, "canonicalizedBody": body,
	}, nil
}

// imageTypes are what simple signing calls the signature of an image.
var imageTypes = []string{"cosign container image signature", "atomic container signature"}

// SimpleSigning is what a simple signing document says of an image. Both are the
// signer's words; the reference may be empty.
type SimpleSigning struct {
	Digest    string
	Reference string
}

// ParseSimpleSigning reads a simple signing document. The caller has verified its
// signature and compares its digest.
func ParseSimpleSigning(payload []byte) (SimpleSigning, error) {
	var doc struct {
		Critical struct {
			Identity struct {
				Reference string `json:"docker-reference"`
			} `json:"identity"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
	}
	if err := strictjson.Unmarshal(payload, &doc); err != nil {
		return SimpleSigning{}, trust.Undecidable(trust.ReasonMalformed, "reading the signed payload: %w", err)
	}
	c := doc.Critical
	if !slices.Contains(imageTypes, c.Type) {
		return SimpleSigning{}, trust.Failure(trust.ReasonWrongPredicate, "the signed payload is a %.80q, no image signature", c.Type)
	}
	return SimpleSigning{Digest: c.Image.Digest, Reference: c.Identity.Reference}, nil
}
