// Package audit answers, for sources that were accepted earlier: is everything
// still what was accepted, and would it be accepted again today?
//
// Sources are read one after the other and only the list of their releases is
// kept, so that cost grows with distinct releases and not with sources times
// packages. Distinct releases go through the gate in batches; each batch is
// recorded when it is done, so that an audit that is cut short goes on where it
// stopped. A decision that says the same as the one before, on the same evidence,
// is not recorded again.
//
// It refuses to call gone what it could not look at, to let a broken source hide
// the others or pass for one without findings, to pin or accept anything (an audit
// looks, the gate lets in), and to rely on the clock for the order of audits.
package audit
