package cms

import (
	"bytes"
	"crypto/x509"
	"time"

	"github.com/headgate/headgate/trust"
)

// MessageVerifier judges detached SignedData over messages, such as approvals
// that are signed with a person's certificate. It is safe for concurrent use.
type MessageVerifier struct {
	// Roots are the pinned roots; certificates of any extended key usage count.
	Roots []*x509.Certificate
	// Now is when the chain must be valid.
	Now time.Time
}

// VerifyMessage returns who signed the message: exactly one signer, with a chain
// to a pinned root.
func (v MessageVerifier) VerifyMessage(message, document []byte) (trust.Signer, error) {
	sd, err := Parse(document)
	if err != nil {
		return trust.Signer{}, err
	}
	if !sd.contentType.Equal(OIDData) || len(sd.signers) != 1 {
		return trust.Signer{}, malformed("a signed message has content of type data and one signer")
	}
	if content, ok := sd.Content(); ok && !bytes.Equal(content, message) {
		return trust.Signer{}, trust.Failure(trust.ReasonWrongSubject, "the CMS signature is over another message")
	}
	sig, err := sd.Verify(sd.signers[0], message)
	if err != nil {
		return trust.Signer{}, err
	}
	chain, err := Chain(sig.Certificate, sd.certificates, v.Roots, v.Now, x509.ExtKeyUsageAny)
	if err != nil {
		return trust.Signer{}, err
	}
	return Signer(chain), nil
}
