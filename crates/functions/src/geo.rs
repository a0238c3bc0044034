//! Distances on the earth, points in shapes, geohashes. Angles are degrees, lengths metres.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray, StructArray,
};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, exec_err};

use super::gives;
use super::rows::{floats, integers, lists, range_of, texts};
use super::scalar::{Arity, ONE, Scalar, TWO, scalar};

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let four = Arity::Exactly(4);
    vec![
        scalar("greatCircleDistance", four, gives::float, |arguments| {
            between(arguments, |angle, _| angle * EARTH_RADIUS)
        }),
        scalar("greatCircleAngle", four, gives::float, |arguments| {
            between(arguments, |angle, _| angle.to_degrees())
        }),
        scalar("geoDistance", four, gives::float, |arguments| between(arguments, ellipsoid)),
        scalar("pointInEllipses", Arity::AtLeastOne, gives::flag, in_ellipses),
        scalar("pointInPolygon", TWO, gives::flag, in_polygon),
        scalar("geohashEncode", Arity::Between(2, 3), gives::text, geohash),
        scalar(
            "geohashDecode",
            ONE,
            |_| Ok(DataType::Struct(place_fields())),
            |arguments| from_geohash(&arguments[0]),
        ),
    ]
}

/// Metres.
const EARTH_RADIUS: f64 = 6_371_000.0;

/// Two places: longitude, latitude, longitude, latitude, in radians.
type Places = [f64; 4];

fn between(arguments: &[ArrayRef], of: fn(f64, Places) -> f64) -> Result<ArrayRef> {
    let degrees = arguments.iter().map(floats).collect::<Result<Vec<Float64Array>>>()?;
    let row = |row: usize| {
        if degrees.iter().any(|degrees| degrees.is_null(row)) {
            return None;
        }
        let at = |place: usize| degrees[place].value(row).to_radians();
        let places = [at(0), at(1), at(2), at(3)];
        Some(of(angle(places), places))
    };
    Ok(Arc::new((0..degrees[0].len()).map(row).collect::<Float64Array>()))
}

/// The angle between two places, in radians.
fn angle([lon1, lat1, lon2, lat2]: Places) -> f64 {
    let half = |difference: f64| (difference / 2.0).sin().powi(2);
    let share = half(lat2 - lat1) + lat1.cos() * lat2.cos() * half(lon2 - lon1);
    2.0 * share.sqrt().min(1.0).asin()
}

/// Vincenty's distance on WGS 84; the sphere's for places that lie opposite.
fn ellipsoid(angle: f64, [lon1, lat1, lon2, lat2]: Places) -> f64 {
    const A: f64 = 6_378_137.0;
    const F: f64 = 1.0 / 298.257_223_563;
    let b = A * (1.0 - F);
    let (u1, u2) = (((1.0 - F) * lat1.tan()).atan(), ((1.0 - F) * lat2.tan()).atan());
    let mut lambda = lon2 - lon1;
    for _ in 0..100 {
        let cross = u1.cos() * u2.sin() - u1.sin() * u2.cos() * lambda.cos();
        let sin_sigma = (u2.cos() * lambda.sin()).hypot(cross);
        if sin_sigma == 0.0 {
            return 0.0;
        }
        let cos_sigma = u1.sin() * u2.sin() + u1.cos() * u2.cos() * lambda.cos();
        let sigma = sin_sigma.atan2(cos_sigma);
        let sin_alpha = u1.cos() * u2.cos() * lambda.sin() / sin_sigma;
        let cos2_alpha = 1.0 - sin_alpha * sin_alpha;
        let middle = match cos2_alpha {
            0.0 => 0.0,
            _ => cos_sigma - 2.0 * u1.sin() * u2.sin() / cos2_alpha,
        };
        let c = F / 16.0 * cos2_alpha * (4.0 + F * (4.0 - 3.0 * cos2_alpha));
        let inner = middle + c * cos_sigma * (2.0 * middle * middle - 1.0);
        let next = lon2 - lon1 + (1.0 - c) * F * sin_alpha * (sigma + c * sin_sigma * inner);
        if (next - lambda).abs() < 1e-12 {
            let k = cos2_alpha * (A * A - b * b) / (b * b);
            let big_a = 1.0 + k / 16384.0 * (4096.0 + k * (-768.0 + k * (320.0 - 175.0 * k)));
            let big_b = k / 1024.0 * (256.0 + k * (-128.0 + k * (74.0 - 47.0 * k)));
            let square = 2.0 * middle * middle - 1.0;
            let last = big_b / 6.0
                * middle
                * (4.0 * sin_sigma * sin_sigma - 3.0)
                * (4.0 * middle * middle - 3.0);
            let turn = big_b * sin_sigma * (middle + big_b / 4.0 * (cos_sigma * square - last));
            return b * big_a * (sigma - turn);
        }
        lambda = next;
    }
    angle * EARTH_RADIUS
}

/// A point, then four numbers for each ellipse: its middle and its half axes.
fn in_ellipses(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    if arguments.len() < 6 || !(arguments.len() - 2).is_multiple_of(4) {
        return exec_err!("pointInEllipses takes x, y and x, y, a, b for each ellipse");
    }
    let numbers = arguments.iter().map(floats).collect::<Result<Vec<Float64Array>>>()?;
    let row = |row: usize| {
        let (x, y) = (numbers[0].value(row), numbers[1].value(row));
        let is_in = |ellipse: &[Float64Array]| {
            let at = |place: usize| ellipse[place].value(row);
            ((x - at(0)) / at(2)).powi(2) + ((y - at(1)) / at(3)).powi(2) <= 1.0
        };
        let is_there = numbers.iter().all(|numbers| numbers.is_valid(row));
        is_there.then(|| numbers[2..].chunks_exact(4).any(is_in))
    };
    Ok(Arc::new((0..numbers[0].len()).map(row).collect::<BooleanArray>()))
}

/// A point as a tuple, and the corners of a polygon as an array of tuples.
fn in_polygon(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let Some(points) = arguments[0].as_struct_opt().filter(|point| point.num_columns() == 2) else {
        return exec_err!("pointInPolygon takes a point (x, y) and an array of points");
    };
    let polygons = lists(&arguments[1])?;
    let Some(corners) = polygons.values().as_struct_opt().filter(|c| c.num_columns() == 2) else {
        return exec_err!("pointInPolygon takes a point (x, y) and an array of points");
    };
    let (px, py) = (floats(points.column(0))?, floats(points.column(1))?);
    let (cx, cy) = (floats(corners.column(0))?, floats(corners.column(1))?);
    let row = |row: usize| {
        let (x, y) = (px.value(row), py.value(row));
        let corners: Vec<(f64, f64)> =
            range_of(&polygons, row).map(|at| (cx.value(at), cy.value(at))).collect();
        let Some(mut before) = corners.last().copied() else { return false };
        let mut inside = false;
        for corner in corners {
            let crosses = (corner.1 > y) != (before.1 > y);
            let at = (before.0 - corner.0) * (y - corner.1) / (before.1 - corner.1) + corner.0;
            if crosses && x < at {
                inside = !inside;
            }
            before = corner;
        }
        inside
    };
    let rows = (0..points.len()).map(|at| points.is_valid(at).then(|| row(at)));
    Ok(Arc::new(rows.collect::<BooleanArray>()))
}

const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

fn geohash(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (longitudes, latitudes) = (floats(&arguments[0])?, floats(&arguments[1])?);
    let lengths = arguments.get(2).map(integers).transpose()?;
    let row = |row: usize| {
        let length = lengths.as_ref().map_or(12, |lengths| lengths.value(row));
        let length = if (1..=12).contains(&length) { length as usize } else { 12 };
        let is_there = longitudes.is_valid(row) && latitudes.is_valid(row);
        is_there.then(|| encoded(longitudes.value(row), latitudes.value(row), length))
    };
    Ok(Arc::new((0..longitudes.len()).map(row).collect::<StringArray>()))
}

fn encoded(longitude: f64, latitude: f64, length: usize) -> String {
    let mut ranges = [(-180.0, 180.0), (-90.0, 90.0)];
    let place = [longitude, latitude];
    let mut text = String::with_capacity(length);
    for digit in 0..length {
        let mut value = 0;
        for bit in 0..5 {
            let axis = (digit * 5 + bit) % 2;
            let (low, high): (f64, f64) = ranges[axis];
            let middle = (low + high) / 2.0;
            let is_above = place[axis] >= middle;
            value = value << 1 | usize::from(is_above);
            ranges[axis] = if is_above { (middle, high) } else { (low, middle) };
        }
        text.push(char::from(DIGITS[value]));
    }
    text
}

fn place_fields() -> Fields {
    let field = |name: &str| Field::new(name, DataType::Float64, true);
    Fields::from(vec![field("longitude"), field("latitude")])
}

fn from_geohash(values: &ArrayRef) -> Result<ArrayRef> {
    let places: Vec<(f64, f64)> =
        texts(values)?.iter().map(|text| decoded(text.unwrap_or_default())).collect();
    let longitudes = Float64Array::from_iter_values(places.iter().map(|place| place.0));
    let latitudes = Float64Array::from_iter_values(places.iter().map(|place| place.1));
    let columns: Vec<ArrayRef> = vec![Arc::new(longitudes), Arc::new(latitudes)];
    Ok(Arc::new(StructArray::try_new(place_fields(), columns, values.logical_nulls())?))
}

/// The middle of the box; letters that are none end it.
fn decoded(text: &str) -> (f64, f64) {
    let mut ranges = [(-180.0, 180.0), (-90.0, 90.0)];
    let digits = text.bytes().map(|byte| byte.to_ascii_lowercase());
    let values = digits.map_while(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let bits = values.flat_map(|value| (0..5).rev().map(move |bit| value >> bit & 1 == 1));
    for (place, is_above) in bits.enumerate() {
        let (low, high): (f64, f64) = ranges[place % 2];
        let middle = (low + high) / 2.0;
        ranges[place % 2] = if is_above { (middle, high) } else { (low, middle) };
    }
    let middle = |(low, high): (f64, f64)| (low + high) / 2.0;
    (middle(ranges[0]), middle(ranges[1]))
}
