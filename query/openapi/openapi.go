// Package openapi holds the description of the REST API that is generated from the contract, and holds requests against it.
package openapi

import _ "embed"

// JSON is the OpenAPI 2.0 document.
//
//go:embed gohub.swagger.json
var JSON []byte
