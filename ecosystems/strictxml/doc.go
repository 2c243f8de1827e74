// Package strictxml reads the XML documents of package repositories.
//
// It refuses entities that a document defines itself, anything but comments
// behind the root element, encodings in which bytes could stand for other
// letters of a name, and an element twice where one belongs.
package strictxml
