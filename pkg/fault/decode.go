package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Decode reads one JSON value into a pointer to a struct. It is stricter than
// encoding/json, because each of these would make a fault that is not quite the
// one asked for. It refuses
//
//   - unknown fields, and fields in another case ("DELAY");
//   - a field that is given twice;
//   - null and "", which say nothing that leaving the field out does not say.
//
// The error is an Invalid with every such field by its path, such as
// faults[2].ports.remote[0].
func Decode(content []byte, into any) error {
	if err := checkSyntax(content); err != nil {
		return err
	}
	d := decoder{tokens: json.NewDecoder(bytes.NewReader(content))}
	d.tokens.UseNumber()
	return d.decode(into)
}

// checkSyntax wants exactly one JSON value in UTF-8.
func checkSyntax(content []byte) error {
	bad := func(value, accepted string) error {
		return Invalid{{Field: "body", Value: value, Accepted: accepted}}
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return bad("", "want a JSON object")
	}
	if !utf8.Valid(content) {
		return bad("", "want JSON in UTF-8")
	}
	var value json.RawMessage
	var syntax *json.SyntaxError
	switch err := json.Unmarshal(content, &value); {
	case errors.As(err, &syntax):
		return bad(fmt.Sprintf("offset %d", syntax.Offset), "want JSON, one object and nothing behind it: "+syntax.Error())
	case err != nil:
		return bad("", "want JSON: "+err.Error())
	}
	return nil
}
