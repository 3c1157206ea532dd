// Package proto holds GoHub's contract: the .proto files of gohub.v1, the code generated from them, and, in
// proto/catalogue, the metric catalogue derived from their field options.
package proto

//go:generate sh -c "PATH=$PWD/../web/node_modules/.bin:$PATH buf generate"
