package dsse

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/strictjson"
)

// Bounds.
const (
	MaxEnvelope   = 32 << 20 // bytes of an envelope
	MaxSignatures = 32       // signatures in one envelope
	MaxKeys       = 1024     // keys that one verification is given
)

// Envelope is a parsed envelope. Nothing in it is verified.
type Envelope struct {
	payloadType string
	payload     []byte
	signatures  []Signature
}

// Signature is one signature of an envelope. KeyID is a hint and is not signed.
type Signature struct {
	KeyID string
	Sig   []byte
}

type wireEnvelope struct {
	Payload     *string         `json:"payload"`
	PayloadType string          `json:"payloadType"`
	Signatures  []wireSignature `json:"signatures"`
}

type wireSignature struct {
	KeyID string `json:"keyid,omitempty"`
	Sig   string `json:"sig"`
}

// Parse reads an envelope. Payload and signatures may be in standard or in
// URL-safe base64, as the specification demands of readers.
func Parse(data []byte) (*Envelope, error) {
	if len(data) > MaxEnvelope {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the envelope has %d bytes, more than %d", len(data), MaxEnvelope)
	}
	var w wireEnvelope
	if err := strictjson.Unmarshal(data, &w); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading an envelope: %w", err)
	}
	if w.Payload == nil || w.PayloadType == "" || len(w.Signatures) == 0 {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the envelope lacks payload, payloadType or signatures")
	}
	if len(w.Signatures) > MaxSignatures {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the envelope has %d signatures, more than %d", len(w.Signatures), MaxSignatures)
	}
	e := &Envelope{payloadType: w.PayloadType}
	var err error
	if e.payload, err = decode(*w.Payload); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the payload of the envelope is not base64")
	}
	for _, s := range w.Signatures {
		sig, err := decode(s.Sig)
		if err != nil || len(sig) == 0 {
			return nil, trust.Undecidable(trust.ReasonMalformed, "a signature of the envelope is not base64")
		}
		e.signatures = append(e.signatures, Signature{KeyID: s.KeyID, Sig: sig})
	}
	return e, nil
}

func decode(s string) ([]byte, error) {
	if b, err := base64.StdEncoding.Strict().DecodeString(s); err == nil {
		return b, nil
	}
	return base64.URLEncoding.Strict().DecodeString(s)
}

// UnverifiedPayload returns the payload before anything vouches for it; it is
// for finding out which keys to ask for, and for display.
func (e *Envelope) UnverifiedPayload() []byte { return bytes.Clone(e.payload) }

// PayloadType returns the stated type of the payload.
func (e *Envelope) PayloadType() string { return e.payloadType }

// Signatures returns the signatures as stated.
func (e *Envelope) Signatures() []Signature { return slices.Clone(e.signatures) }

// PAE is the pre-authentication encoding, which is what is signed.
func PAE(payloadType string, payload []byte) []byte {
	b := make([]byte, 0, len(payload)+len(payloadType)+48)
	b = append(b, "DSSEv1 "...)
	b = strconv.AppendInt(b, int64(len(payloadType)), 10)
	b = append(b, ' ')
	b = append(b, payloadType...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(payload)), 10)
	b = append(b, ' ')
	return append(b, payload...)
}

// ErrNotMine is what a Key returns for a signature that is not by it. Any
// other error of a Key means that the signature could not be judged.
var ErrNotMine = errors.New("signature is not by this key")

// Key verifies signatures of one key.
type Key interface {
	// Identity is equal for two Keys exactly if they are the same key, whatever
	// they are called.
	Identity() string
	// Verify returns nil if sig is this key's signature over message (the PAE),
	// ErrNotMine if it is not, and another error if it cannot tell.
	Verify(message, sig []byte) error
	// Signer is the identity that a verified signature stands for.
	Signer() trust.Signer
}

// Verified is the payload of an envelope with those who signed it.
type Verified struct {
	payloadType string
	payload     []byte
	keys        []Key
}

// Payload returns the signed bytes.
func (v *Verified) Payload() []byte { return bytes.Clone(v.payload) }

// PayloadType returns the signed type.
func (v *Verified) PayloadType() string { return v.payloadType }

// Keys returns the distinct keys that signed, in the order that they were given in.
func (v *Verified) Keys() []Key { return slices.Clone(v.keys) }

// Signers returns the identities behind Keys.
func (v *Verified) Signers() []trust.Signer {
	out := make([]trust.Signer, len(v.keys))
	for i, k := range v.keys {
		out[i] = k.Signer()
	}
	return out
}

// Verify demands the payload type and valid signatures by at least threshold
// distinct keys.
//
// Signatures by unknown keys do not harm and do not count. Too few good
// signatures are a failure, unless a key could not judge one: then it is
// undecidable.
func Verify(e *Envelope, payloadType string, keys []Key, threshold int) (*Verified, error) {
	if payloadType == "" {
		return nil, trust.Misconfigured("verifying an envelope needs a payload type")
	}
	if len(keys) > MaxKeys {
		return nil, trust.Misconfigured("verifying an envelope with %d keys, more than %d", len(keys), MaxKeys)
	}
	distinct := make([]Key, 0, len(keys))
	seen := map[string]bool{}
	for _, k := range keys {
		id := k.Identity()
		if id == "" {
			return nil, trust.Misconfigured("verifying an envelope with a key that has no identity")
		}
		if !seen[id] {
			seen[id] = true
			distinct = append(distinct, k)
		}
	}
	if threshold < 1 || threshold > len(distinct) {
		return nil, trust.Misconfigured("a threshold of %d with %d distinct keys", threshold, len(distinct))
	}
	if e == nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "there is no envelope")
	}
	if e.payloadType != payloadType {
		return nil, trust.Failure(trust.ReasonWrongPredicate, "the envelope holds %q, not %q", clip(e.payloadType), payloadType)
	}
	message := PAE(e.payloadType, e.payload)
	v := &Verified{payloadType: e.payloadType, payload: e.payload}
	var doubt error
	for _, k := range distinct {
		for _, s := range e.signatures {
			err := k.Verify(message, s.Sig)
			if err == nil {
				v.keys = append(v.keys, k)
				break
			}
			if !errors.Is(err, ErrNotMine) && doubt == nil {
				doubt = err
			}
		}
	}
	if len(v.keys) >= threshold {
		return v, nil
	}
	if doubt != nil {
		if o, r := trust.Classify(doubt); o == trust.Unreachable {
			return nil, trust.Undecidable(r, "a signature of the envelope could not be judged: %w", doubt)
		}
		return nil, doubt
	}
	return nil, trust.Failure(trust.ReasonBadSignature, "%d of %d needed signatures of the envelope verify", len(v.keys), threshold)
}

// SignFunc signs a message (the PAE) and names its key.
type SignFunc func(message []byte) (sig []byte, keyID string, err error)

// Sign makes an envelope with one signature per signer.
func Sign(payloadType string, payload []byte, signers ...SignFunc) ([]byte, error) {
	if payloadType == "" || len(signers) == 0 || len(signers) > MaxSignatures {
		return nil, trust.Misconfigured("an envelope needs a payload type and 1 to %d signers", MaxSignatures)
	}
	p := base64.StdEncoding.EncodeToString(payload)
	w := wireEnvelope{Payload: &p, PayloadType: payloadType}
	message := PAE(payloadType, payload)
	for _, sign := range signers {
		sig, id, err := sign(message)
		if err != nil {
			return nil, fmt.Errorf("signing an envelope: %w", err)
		}
		w.Signatures = append(w.Signatures, wireSignature{KeyID: id, Sig: base64.StdEncoding.EncodeToString(sig)})
	}
	out, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("writing an envelope: %w", err)
	}
	if len(out) > MaxEnvelope {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the envelope has %d bytes, more than %d", len(out), MaxEnvelope)
	}
	return out, nil
}

// AddSignature returns the envelope with the signature of one more signer, over
// the same payload bytes.
func AddSignature(envelope []byte, sign SignFunc) ([]byte, error) {
	e, err := Parse(envelope)
	if err != nil {
		return nil, err
	}
	again := make([]SignFunc, 0, len(e.signatures)+1)
	for _, s := range e.signatures {
		again = append(again, func([]byte) ([]byte, string, error) { return s.Sig, s.KeyID, nil })
	}
	return Sign(e.payloadType, e.payload, append(again, sign)...)
}

func clip(s string) string {
	const max = 80
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}
